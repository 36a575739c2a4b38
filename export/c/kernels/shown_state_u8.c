/* needs: floor_shift_s32, half_away, clipped */
/* h[n] = clip(gate[n] values[n] / 2^shift, -128, 127) + 128: halved half up, then ties away from zero. */
static void shown_state_u8(uint8_t *h, const int16_t *gate, const int16_t *values, size_t count, unsigned shift)
{
    for (size_t n = 0; n < count; n++) {
        const int32_t halved = floor_shift_s32(gate[n] * values[n] + 1, 1);
        h[n] = (uint8_t)(clipped((int32_t)half_away(halved, shift - 1), -128, 127) + 128);
    }
}
