/* needs: rounded_shift, clipped */
/* p = round(gate (h - zero_point) / 2^15) + zero_point, in low ... high: the part of the state that a gate, Q0.15, lets
   through, at the state's scale. */
static void gated_state_u8(uint8_t *p, const int16_t *gate, const uint8_t *h, size_t count, int32_t zero_point, int32_t low,
                          int32_t high)
{
    for (size_t n = 0; n < count; n++) {
        p[n] = (uint8_t)clipped(rounded_shift(gate[n] * (h[n] - zero_point), 15) + zero_point, low, high);
    }
}
