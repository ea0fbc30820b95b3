"""``python -m mmjax``."""

from mmjax.cli import main

if __name__ == "__main__":
    main()
