#include <immintrin.h>
/* As matvec_s16_w8, x = 256 h + l; vpdpbusd only adds, so that each part of y has sums of what is added (p) and of
   what is taken away (n). */
static void quaternion_s16_w8(int32_t *acc, const uint8_t *weight, const int16_t *x, size_t rows, size_t columns,
                              size_t part)
{
    const __m512i low = _mm512_set1_epi32(0x06040200), high = _mm512_set1_epi32(0x07050301);
    const __m512i flip = _mm512_set1_epi8(-0x80), share = _mm512_set1_epi16(-1);
    /* -128 times the sum of h of each part of x, times 256, in every lane; all modulo 2^32. */
    __m512i t[4];
    for (size_t q = 0; q < 4; ++q) {
        __m512i total = _mm512_setzero_si512();
        for (size_t column = 0; column < columns; column += 32) {
            const __mmask32 valid = columns - column < 32 ? ((__mmask32)1 << (columns - column)) - 1 : ~(__mmask32)0;
            const __m512i entries = _mm512_maskz_loadu_epi16(valid, x + q * part + column);
            total = _mm512_dpwssd_epi32(total, _mm512_srai_epi16(entries, 8), share);
        }
        total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0x4e));
        total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0xb1));
        total = _mm512_add_epi32(total, _mm512_shuffle_epi32(total, (_MM_PERM_ENUM)0x4e));
        total = _mm512_add_epi32(total, _mm512_shuffle_epi32(total, (_MM_PERM_ENUM)0xb1));
        t[q] = _mm512_slli_epi32(total, 15);
    }
    const __m512i total_r = _mm512_sub_epi32(t[0], _mm512_add_epi32(_mm512_add_epi32(t[1], t[2]), t[3]));
    const __m512i total_i = _mm512_sub_epi32(_mm512_add_epi32(_mm512_add_epi32(t[1], t[0]), t[3]), t[2]);
    const __m512i total_j = _mm512_sub_epi32(_mm512_add_epi32(_mm512_add_epi32(t[2], t[0]), t[1]), t[3]);
    const __m512i total_k = _mm512_sub_epi32(_mm512_add_epi32(_mm512_add_epi32(t[3], t[2]), t[0]), t[1]);
    const uint8_t *w = weight;
    for (size_t row = 0; row < rows; row += MODEL_TILE) {
        __m512i rlp = total_r, ilp = total_i, jlp = total_j, klp = total_k;
        __m512i rln = _mm512_setzero_si512(), iln = rln, jln = rln, kln = rln;
        __m512i rhp = rln, ihp = rln, jhp = rln, khp = rln, rhn = rln, ihn = rln, jhn = rln, khn = rln;
        for (size_t column = 0; column < columns; column += 4, w += 256) {
            int64_t words[4];
            memcpy(words, x + column, sizeof *words);
            memcpy(words + 1, x + part + column, sizeof *words);
            memcpy(words + 2, x + 2 * part + column, sizeof *words);
            memcpy(words + 3, x + 3 * part + column, sizeof *words);
            const __m512i xr = _mm512_set1_epi64(words[0]);
            const __m512i rl = _mm512_shuffle_epi8(xr, low), rh = _mm512_shuffle_epi8(xr, high);
            const __m512i xi = _mm512_set1_epi64(words[1]);
            const __m512i il = _mm512_shuffle_epi8(xi, low), ih = _mm512_shuffle_epi8(xi, high);
            const __m512i xj = _mm512_set1_epi64(words[2]);
            const __m512i jl = _mm512_shuffle_epi8(xj, low), jh = _mm512_shuffle_epi8(xj, high);
            const __m512i xk = _mm512_set1_epi64(words[3]);
            const __m512i kl = _mm512_shuffle_epi8(xk, low), kh = _mm512_shuffle_epi8(xk, high);
            const __m512i r = _mm512_loadu_si512(w), ru = _mm512_xor_si512(r, flip);
            rlp = _mm512_dpbusd_epi32(rlp, rl, r);
            rhp = _mm512_dpbusd_epi32(rhp, ru, rh);
            ilp = _mm512_dpbusd_epi32(ilp, il, r);
            ihp = _mm512_dpbusd_epi32(ihp, ru, ih);
            jlp = _mm512_dpbusd_epi32(jlp, jl, r);
            jhp = _mm512_dpbusd_epi32(jhp, ru, jh);
            klp = _mm512_dpbusd_epi32(klp, kl, r);
            khp = _mm512_dpbusd_epi32(khp, ru, kh);
            const __m512i i = _mm512_loadu_si512(w + 64), iu = _mm512_xor_si512(i, flip);
            ilp = _mm512_dpbusd_epi32(ilp, rl, i);
            ihp = _mm512_dpbusd_epi32(ihp, iu, rh);
            rln = _mm512_dpbusd_epi32(rln, il, i);
            rhn = _mm512_dpbusd_epi32(rhn, iu, ih);
            klp = _mm512_dpbusd_epi32(klp, jl, i);
            khp = _mm512_dpbusd_epi32(khp, iu, jh);
            jln = _mm512_dpbusd_epi32(jln, kl, i);
            jhn = _mm512_dpbusd_epi32(jhn, iu, kh);
            const __m512i j = _mm512_loadu_si512(w + 128), ju = _mm512_xor_si512(j, flip);
            jlp = _mm512_dpbusd_epi32(jlp, rl, j);
            jhp = _mm512_dpbusd_epi32(jhp, ju, rh);
            kln = _mm512_dpbusd_epi32(kln, il, j);
            khn = _mm512_dpbusd_epi32(khn, ju, ih);
            rln = _mm512_dpbusd_epi32(rln, jl, j);
            rhn = _mm512_dpbusd_epi32(rhn, ju, jh);
            ilp = _mm512_dpbusd_epi32(ilp, kl, j);
            ihp = _mm512_dpbusd_epi32(ihp, ju, kh);
            const __m512i k = _mm512_loadu_si512(w + 192), ku = _mm512_xor_si512(k, flip);
            klp = _mm512_dpbusd_epi32(klp, rl, k);
            khp = _mm512_dpbusd_epi32(khp, ku, rh);
            jlp = _mm512_dpbusd_epi32(jlp, il, k);
            jhp = _mm512_dpbusd_epi32(jhp, ku, ih);
            iln = _mm512_dpbusd_epi32(iln, jl, k);
            ihn = _mm512_dpbusd_epi32(ihn, ku, jh);
            rln = _mm512_dpbusd_epi32(rln, kl, k);
            rhn = _mm512_dpbusd_epi32(rhn, ku, kh);
        }
        int32_t *y = acc + row;
        const __m512i high_r = _mm512_slli_epi32(_mm512_sub_epi32(rhp, rhn), 8);
        const __m512i yr = _mm512_add_epi32(_mm512_sub_epi32(rlp, rln), high_r);
        const __m512i high_i = _mm512_slli_epi32(_mm512_sub_epi32(ihp, ihn), 8);
        const __m512i yi = _mm512_add_epi32(_mm512_sub_epi32(ilp, iln), high_i);
        const __m512i high_j = _mm512_slli_epi32(_mm512_sub_epi32(jhp, jhn), 8);
        const __m512i yj = _mm512_add_epi32(_mm512_sub_epi32(jlp, jln), high_j);
        const __m512i high_k = _mm512_slli_epi32(_mm512_sub_epi32(khp, khn), 8);
        const __m512i yk = _mm512_add_epi32(_mm512_sub_epi32(klp, kln), high_k);
        _mm512_storeu_si512(y, _mm512_add_epi32(_mm512_loadu_si512(y), yr));
        _mm512_storeu_si512(y + rows, _mm512_add_epi32(_mm512_loadu_si512(y + rows), yi));
        _mm512_storeu_si512(y + 2 * rows, _mm512_add_epi32(_mm512_loadu_si512(y + 2 * rows), yj));
        _mm512_storeu_si512(y + 3 * rows, _mm512_add_epi32(_mm512_loadu_si512(y + 3 * rows), yk));
    }
}
