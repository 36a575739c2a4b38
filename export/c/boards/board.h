/* What a program on a board has besides model.c: two streams. */
#ifndef QDEPLOY_BOARD_H
#define QDEPLOY_BOARD_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that were read or written, perhaps fewer than asked for; 0 at the end, or less than 0. */
long board_read(void *bytes, size_t count);
long board_write(const void *bytes, size_t count);

/* 1 where all bytes came, or went; 0 at the end. */
int board_receive(void *bytes, size_t count);
int board_send(const void *bytes, size_t count);

#endif
