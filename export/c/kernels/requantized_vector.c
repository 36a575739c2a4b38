#if MODEL_OFFSET == 128 && defined(__ARM_NEON)
#include <arm_neon.h>
/* 4 accumulators as requantized() does it: the shift right rounds ties towards plus infinity without an overflow, and a value
   that fits no 32 bits is brought to their end, which the limits then replace. */
__attribute__((unused)) static inline int32x4_t requantized_vector(int32x4_t acc, int32x4_t multiplier, int64x2_t minus_shift,
                                                                   int64x2_t zero_point, int32x4_t low, int32x4_t high)
{
    int64x2_t first = vmull_s32(vget_low_s32(acc), vget_low_s32(multiplier));
    int64x2_t second = vmull_s32(vget_high_s32(acc), vget_high_s32(multiplier));
    first = vaddq_s64(vrshlq_s64(first, minus_shift), zero_point);
    second = vaddq_s64(vrshlq_s64(second, minus_shift), zero_point);
    return vmaxq_s32(vminq_s32(vcombine_s32(vqmovn_s64(first), vqmovn_s64(second)), high), low);
}
#endif
