/* Reading and writing all of it, however the streams cut it. */
#include "board.h"

int board_receive(void *bytes, size_t count)
{
    uint8_t *place = bytes;

    while (count > 0) {
        long got = board_read(place, count);

        if (got <= 0) {
            return 0;
        }
        place += got;
        count -= (size_t)got;
    }
    return 1;
}

int board_send(const void *bytes, size_t count)
{
    const uint8_t *place = bytes;

    while (count > 0) {
        long put = board_write(place, count);

        if (put <= 0) {
            return 0;
        }
        place += put;
        count -= (size_t)put;
    }
    return 1;
}
