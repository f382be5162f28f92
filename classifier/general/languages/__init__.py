"""What people ask, as templates in five languages; prompts.py fills them in.

Each module holds TEMPLATES (by kind of request) and WORDS (by slot). Written for this project.
"""
