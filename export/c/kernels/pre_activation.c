/* needs: floor_shift, half_away */
/* gates[n] = clip(gates[n] + acc[n] multiplier / 2^(first + left)) in 16 bits, rounded twice as gemmlowp does: half up by first
   bits, then ties away from zero. gates[n] is left out where added is 0. */
static void pre_activation(int16_t *gates, const int32_t *acc, size_t count, int32_t multiplier, unsigned first,
                           unsigned left, int added)
{
    const int64_t half = (int64_t)(((uint64_t)1 << first) >> 1);
    for (size_t n = 0; n < count; n++) {
        const int64_t scaled = half_away(floor_shift((int64_t)acc[n] * multiplier + half, first), left);
        const int64_t sum = scaled + (added ? gates[n] : 0);
        gates[n] = (int16_t)(sum < -32768 ? -32768 : sum > 32767 ? 32767 : sum);
    }
}
