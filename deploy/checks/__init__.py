"""What must hold of manifests and Dockerfiles, a module a subject. Run by deploy/validate.py."""
