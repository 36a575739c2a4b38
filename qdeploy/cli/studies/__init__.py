"""The commands of ``qdeploy study``, one file a study."""
