/* needs: neon_sums */
static void matvec_s16_w2(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns)
{
    const int8_t *w = (const int8_t *)weight;
    for (size_t row = 0; row < rows; row += MODEL_TILE) {
        int32x4_t sum[MODEL_TILE];
        UNROLLED
        for (size_t n = 0; n < MODEL_TILE; ++n) {
            sum[n] = vdupq_n_s32(0);
        }
        for (size_t column = 0; column < columns; column += 16, w += 4 * MODEL_TILE) {
            const int16_t *from = x + column;
            const int16x8_t v0 = four_twice(from), v1 = four_twice(from + 4);
            const int16x8_t v2 = four_twice(from + 8), v3 = four_twice(from + 12);
            UNROLLED
            for (size_t group = 0; group < GROUPS; ++group) {
                const int8x16_t all = vld1q_s8(w + 16 * group);
                plus_wide_products(sum + 4 * group, CODES(all, 2, 0), v0);
                plus_wide_products(sum + 4 * group, CODES(all, 2, 1), v1);
                plus_wide_products(sum + 4 * group, CODES(all, 2, 2), v2);
                plus_wide_products(sum + 4 * group, CODES(all, 2, 3), v3);
            }
        }
        UNROLLED
        for (size_t group = 0; group < GROUPS; ++group) {
            add_to(acc + row + 4 * group, row_sums(sum + 4 * group));
        }
    }
}
