"""What CPUs can compute in two ways."""

import pytest

from mmjax.layers import kernels


@pytest.fixture(params=["kernels", "XLA"])
def formulation(request):
    """Each way of computing a layer on CPU: the C++ kernels, if there are any, and XLA alone."""
    if request.param == "XLA":
        with kernels.without():
            yield
    elif kernels.available():
        yield
    else:
        pytest.skip("there are no kernels")
