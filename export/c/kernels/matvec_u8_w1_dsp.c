/* needs: pairs */
/* The sum over all columns, less twice that where the sign is -1. A sum of bytes with themselves moves the next bit of each
   to the front and leaves the last one in the flags, by which another instruction selects bytes; one more adds 4 of them. */
static void matvec_u8_w1(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const uint32_t *w = (const uint32_t *)(const void *)weight;
    uint32_t total = 0;
    for (size_t column = 0; column < columns; ++column) {
        total += x[column];
    }
    for (size_t row = 0; row < rows; row += 4) {
        uint32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
        for (size_t column = 0; column < columns; column += 32, w += 4) {
            uint32_t w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
            UNROLLED
            for (size_t back = 4; back <= 32; back += 4) {
                const uint32_t four = word_at(x + column + 32 - back);
                sum0 = plus_selected(sum0, &w0, four);
                sum1 = plus_selected(sum1, &w1, four);
                sum2 = plus_selected(sum2, &w2, four);
                sum3 = plus_selected(sum3, &w3, four);
            }
        }
        acc[row] = (int32_t)((uint32_t)acc[row] + total - 2 * sum0);
        acc[row + 1] = (int32_t)((uint32_t)acc[row + 1] + total - 2 * sum1);
        acc[row + 2] = (int32_t)((uint32_t)acc[row + 2] + total - 2 * sum2);
        acc[row + 3] = (int32_t)((uint32_t)acc[row + 3] + total - 2 * sum3);
    }
}
