/* needs: rounded_shift, clipped */
/* h = clip(round((added + kept (h - zero_point) 2^state_shift) / 2^(14 + state_shift)) + zero_point, low, high):
   kept is Q0.14, added counts 2^-(14 + state_shift) of the state. */
static void weighted_residual_s16(int16_t *h, const int32_t *added, size_t count, int32_t kept, unsigned state_shift,
                                int32_t zero_point, int32_t low, int32_t high)
{
    for (size_t n = 0; n < count; n++) {
        const int32_t sum = added[n] + kept * ((h[n] - zero_point) * ((int32_t)1 << state_shift));
        h[n] = (int16_t)clipped(rounded_shift(sum, 14 + state_shift) + zero_point, low, high);
    }
}
