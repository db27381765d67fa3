"""The command on Kubernetes, end to end, on a stand-in for a cluster."""
