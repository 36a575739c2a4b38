#include <arm_neon.h>
/* The first two stages are those of 4 neighbours, which 4 vectors of them hold in lanes of their own once they are transposed; the
   others have vectors that lie apart. */
static void hadamard_transform(uint32_t *value, size_t size, size_t block)
{
    size_t half = 1;
    if (block >= 16) {
        for (size_t first = 0; first < size; first += 16) {
            uint32x4x4_t v = vld4q_u32(value + first);
            const uint32x4_t ab = vaddq_u32(v.val[0], v.val[1]), cd = vaddq_u32(v.val[2], v.val[3]);
            const uint32x4_t a_b = vsubq_u32(v.val[0], v.val[1]), c_d = vsubq_u32(v.val[2], v.val[3]);
            v.val[0] = vaddq_u32(ab, cd);
            v.val[1] = vaddq_u32(a_b, c_d);
            v.val[2] = vsubq_u32(ab, cd);
            v.val[3] = vsubq_u32(a_b, c_d);
            vst4q_u32(value + first, v);
        }
        for (half = 4; 4 * half <= block; half *= 4) {
            for (size_t first = 0; first < size; first += 4 * half) {
                for (uint32_t *a = value + first; a != value + first + half; a += 4) {
                    const uint32x4_t va = vld1q_u32(a), vb = vld1q_u32(a + half);
                    const uint32x4_t vc = vld1q_u32(a + 2 * half), vd = vld1q_u32(a + 3 * half);
                    const uint32x4_t ab = vaddq_u32(va, vb), cd = vaddq_u32(vc, vd);
                    const uint32x4_t a_b = vsubq_u32(va, vb), c_d = vsubq_u32(vc, vd);
                    vst1q_u32(a, vaddq_u32(ab, cd));
                    vst1q_u32(a + half, vaddq_u32(a_b, c_d));
                    vst1q_u32(a + 2 * half, vsubq_u32(ab, cd));
                    vst1q_u32(a + 3 * half, vsubq_u32(a_b, c_d));
                }
            }
        }
    }
    for (; 2 * half <= block; half *= 2) {
        for (size_t first = 0; first < size; first += 2 * half) {
            uint32_t *a = value + first, *b = a + half;
            for (size_t n = 0; n < half; ++n) {
                const uint32_t difference = a[n] - b[n];
                a[n] += b[n];
                b[n] = difference;
            }
        }
    }
}
