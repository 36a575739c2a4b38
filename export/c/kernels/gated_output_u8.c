/* needs: rounded_shift, clipped */
/* h = clip(round(gate values / 2^shift) + zero_point, low, high); gate is Q0.14. */
static void gated_output_u8(uint8_t *h, const int16_t *gate, const int16_t *values, size_t count, unsigned shift,
                           int32_t zero_point, int32_t low, int32_t high)
{
    for (size_t n = 0; n < count; n++) {
        h[n] = (uint8_t)clipped(rounded_shift(gate[n] * values[n], shift) + zero_point, low, high);
    }
}
