"""stub until merged"""


def removable(member):
    return getattr(type(member), "removable", {})


def remove(member, name):
    return member.clone(**removable(member)[name])
