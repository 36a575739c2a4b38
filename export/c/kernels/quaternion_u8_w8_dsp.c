/* needs: pairs */
/* Each component is widened once and meets all four parts; a minus is in the weights. */
static void quaternion_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns,
                             size_t part)
{
#define EVEN(p, n) even_s8(w[4 * (p) + (n)])
#define ODD(p, n) odd_s8(w[4 * (p) + (n)])
    const uint32_t *w = (const uint32_t *)(const void *)weight;
    for (size_t row = 0; row < rows; row += 4) {
        int32_t sum[4][4];
        for (size_t n = 0; n < 16; ++n) {
            sum[n % 4][n / 4] = acc[n / 4 * rows + row + n % 4];
        }
        for (size_t column = 0; column < columns; column += 4, w += 16) {
            const uint8_t *from = x + column;
            const uint32_t xr = word_at(from), xi = word_at(from + part);
            const uint32_t xj = word_at(from + 2 * part), xk = word_at(from + 3 * part);
            const uint32_t r0 = even_u8(xr), i0 = even_u8(xi), j0 = even_u8(xj), k0 = even_u8(xk);
            MEET_PARTS(sum, EVEN, r0, i0, j0, k0);
            const uint32_t r1 = odd_u8(xr), i1 = odd_u8(xi), j1 = odd_u8(xj), k1 = odd_u8(xk);
            MEET_PARTS(sum, ODD, r1, i1, j1, k1);
        }
        for (size_t n = 0; n < 16; ++n) {
            acc[n / 4 * rows + row + n % 4] = sum[n % 4][n / 4];
        }
    }
#undef EVEN
#undef ODD
}
