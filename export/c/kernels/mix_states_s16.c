/* needs: rounded_shift, clipped */
/* h = clip(round(((2^15 - z) n + z (h - zero_point) 2^state_shift) / 2^(15 + state_shift)) + zero_point, low, high):
   the gate z, Q0.15, keeps its part of the state and lets the candidate n, which counts 2^-state_shift, take the rest. */
static void mix_states_s16(int16_t *h, const int16_t *gate, const int16_t *candidate, size_t count, unsigned state_shift,
                         int32_t zero_point, int32_t low, int32_t high)
{
    for (size_t n = 0; n < count; n++) {
        const int32_t kept = (h[n] - zero_point) * ((int32_t)1 << state_shift);
        const int32_t mixed = (32768 - gate[n]) * candidate[n] + gate[n] * kept;
        h[n] = (int16_t)clipped(rounded_shift(mixed, 15 + state_shift) + zero_point, low, high);
    }
}
