"""Fuzzing of everything that qdeploy reads: mutated inputs, each read in a guarded child process.

``make fuzz`` runs all readers; ``python -m tests.fuzz READER --input N`` repeats one input. The parts:

- ``mutate_bytes``, ``mutate_json``, ``mutate_onnx``, ``mutate_arrays``, ``mutate_files``: one mutation engine a format;
- ``seeds``: small valid inputs, made anew by qdeploy itself;
- ``readers``: what is read, from which seeds, by which mutations;
- ``worker``: the child process, which makes an input and reads it under limits of memory;
- ``misbehaviour``: what a reader must not do, for the test of the fuzzing itself;
- ``campaign``: the parent, which watches the child's time, restarts it, and keeps what failed.
"""
