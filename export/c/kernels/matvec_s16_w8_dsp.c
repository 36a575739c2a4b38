/* needs: pairs */
/* Activations are paired once for the 4 rows of a tile. */
static void matvec_s16_w8(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns)
{
    const uint32_t *w = (const uint32_t *)(const void *)weight;
    for (size_t row = 0; row < rows; row += 4) {
        int32_t sum0 = acc[row], sum1 = acc[row + 1], sum2 = acc[row + 2], sum3 = acc[row + 3];
        const int16_t *from = x, *const end = x + columns;
        if (columns % 8 != 0) {
            const uint32_t even = even_s16(from), odd = odd_s16(from);
            w = two_rows(two_rows(w, even, odd, &sum0, &sum1), even, odd, &sum2, &sum3);
            from += 4;
        }
        for (; from != end; from += 8) {
            const uint32_t even = even_s16(from), odd = odd_s16(from);
            w = two_rows(two_rows(w, even, odd, &sum0, &sum1), even, odd, &sum2, &sum3);
            const uint32_t even1 = even_s16(from + 4), odd1 = odd_s16(from + 4);
            w = two_rows(two_rows(w, even1, odd1, &sum0, &sum1), even1, odd1, &sum2, &sum3);
        }
        acc[row] = sum0;
        acc[row + 1] = sum1;
        acc[row + 2] = sum2;
        acc[row + 3] = sum3;
    }
}
