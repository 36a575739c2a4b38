/* needs: floor_shift_s32 */
/* Entry number index[n] of a table of which every 2^shift-th is kept, with straight lines between: of knots t and
   index = i 2^shift + k, y = t[i] + floor(((t[i+1] - t[i]) k + 2^(shift-1)) / 2^shift). y may be index. */
static void on_lines_s16(int16_t *y, const int16_t *index, const int16_t *knots, unsigned shift, size_t count)
{
    const int32_t half = ((int32_t)1 << shift) >> 1;
    for (size_t n = 0; n < count; n++) {
        const int32_t i = index[n] >> shift;
        const int32_t k = index[n] - (i << shift);
        y[n] = (int16_t)(knots[i] + floor_shift_s32((knots[i + 1] - knots[i]) * k + half, shift));
    }
}
