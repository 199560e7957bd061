"""What Pawprint is measured against, and how."""
