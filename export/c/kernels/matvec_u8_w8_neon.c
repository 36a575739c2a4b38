/* needs: neon_sums */
/* Two products of a byte by a weight of at most 127 fit 16 bits, so that columns k and k + 4 are added there, and neighbours
   when the sum goes to 32 bits: lanes 2n and 2n + 1 belong to row n. */
static void matvec_u8_w8(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns)
{
    const int8_t *w = (const int8_t *)weight;
    for (size_t row = 0; row < rows; row += MODEL_TILE) {
        int32x4_t low[GROUPS], high[GROUPS];
        UNROLLED
        for (size_t group = 0; group < GROUPS; ++group) {
            low[group] = high[group] = vdupq_n_s32(0);
        }
        size_t column = 0;
        for (; column + 8 <= columns; column += 8, w += 8 * MODEL_TILE) {
            const int32x2_t v = vreinterpret_s32_u8(veor_u8(vld1_u8(x + column), vdup_n_u8(128)));
            const int8x16_t v0 = FOUR_OF_EIGHT(v, 0), v1 = FOUR_OF_EIGHT(v, 1);
            UNROLLED
            for (size_t group = 0; group < GROUPS; ++group) {
                const int8x16_t w0 = vld1q_s8(w + 16 * group), w1 = vld1q_s8(w + 4 * MODEL_TILE + 16 * group);
                plus_two(&low[group], &high[group], w0, v0, w1, v1);
            }
        }
        if (column < columns) {
            const int8x16_t v = four_less_128(x + column);
            UNROLLED
            for (size_t group = 0; group < GROUPS; ++group) {
                const int8x16_t w0 = vld1q_s8(w + 16 * group);
                low[group] = vpadalq_s16(low[group], low_products(w0, v));
                high[group] = vpadalq_s16(high[group], high_products(w0, v));
            }
            w += 4 * MODEL_TILE;
        }
        UNROLLED
        for (size_t group = 0; group < GROUPS; ++group) {
            add_to(acc + row + 4 * group, sums_of_pairs(low[group], high[group]));
        }
    }
}
