/* What generated C takes from the C library's string.h, for compilers that come without a library. */
#ifndef QDEPLOY_STRING_H
#define QDEPLOY_STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
int memcmp(const void *one, const void *other, size_t count);

#endif
