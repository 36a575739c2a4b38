/* needs: rounded_shift, clipped */
/* h = clip(round(gate values / 2^shift) + zero_point, low, high); gate is Q0.14. */
static void gated_output_s16(int16_t *h, const int16_t *gate, const int16_t *values, size_t count, unsigned shift,
                           int32_t zero_point, int32_t low, int32_t high)
{
    for (size_t n = 0; n < count; n++) {
        h[n] = (int16_t)clipped(rounded_shift(gate[n] * values[n], shift) + zero_point, low, high);
    }
}
