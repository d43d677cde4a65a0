"""Logs what Python workflows did, node by node, into a local file and to Flowwatch."""
