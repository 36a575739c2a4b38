/* needs: pairs */
/* Activations are widened once for the 4 rows of a tile. */
static void matvec_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const uint32_t *w = (const uint32_t *)(const void *)weight;
    for (size_t row = 0; row < rows; row += 4) {
        int32_t sum0 = acc[row], sum1 = acc[row + 1], sum2 = acc[row + 2], sum3 = acc[row + 3];
        const uint8_t *from = x, *const end = x + columns;
        if (columns % 8 != 0) {
            const uint32_t four = word_at(from), even = even_u8(four), odd = odd_u8(four);
            w = two_rows(two_rows(w, even, odd, &sum0, &sum1), even, odd, &sum2, &sum3);
            from += 4;
        }
        for (; from != end; from += 8) {
            const uint32_t four = word_at(from), even = even_u8(four), odd = odd_u8(four);
            w = two_rows(two_rows(w, even, odd, &sum0, &sum1), even, odd, &sum2, &sum3);
            const uint32_t next = word_at(from + 4), even1 = even_u8(next), odd1 = odd_u8(next);
            w = two_rows(two_rows(w, even1, odd1, &sum0, &sum1), even1, odd1, &sum2, &sum3);
        }
        acc[row] = sum0;
        acc[row + 1] = sum1;
        acc[row + 2] = sum2;
        acc[row + 3] = sum3;
    }
}
