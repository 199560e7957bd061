"""`python -m pawprint`."""

from pawprint import main

main()
