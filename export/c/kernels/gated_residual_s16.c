/* needs: rounded_shift, clipped */
/* h = clip(round((added + z ((h - zero_point) 2^state_shift - candidate)) / 2^(14 + state_shift)) + zero_point, low, high):
   the gate z is Q0.14, candidate counts 2^-state_shift of the state, added 2^-14 of that. */
static void gated_residual_s16(int16_t *h, const int32_t *added, const int16_t *gate, const int16_t *candidate, size_t count,
                             unsigned state_shift, int32_t zero_point, int32_t low, int32_t high)
{
    for (size_t n = 0; n < count; n++) {
        const int32_t kept = (h[n] - zero_point) * ((int32_t)1 << state_shift) - candidate[n];
        h[n] = (int16_t)clipped(rounded_shift(added[n] + gate[n] * kept, 14 + state_shift) + zero_point, low, high);
    }
}
