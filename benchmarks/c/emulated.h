/* What a program under emulation has, and what it must define: emulated(). */
#ifndef EMULATED_H
#define EMULATED_H

enum { WRITE = 5, READ = 6, READ_BYTES = 1, WRITE_BYTES = 5 };

/* A file of the folder in which the emulator runs, to be read or to be written. */
long opened(const char *name, long length, long mode);

/* READ or WRITE count bytes; 0 where all of them were moved. */
long moved(long operation, long file, const void *bytes, long count);

void emulated(void);

#endif
