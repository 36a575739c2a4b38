#include <immintrin.h>
/* As the product of 8-bit weights, with code + 8 of each field; -8 times the signed sum of x puts it right. */
static void quaternion_u8_w4(int32_t *acc, const uint8_t *weight, const uint8_t *x, size_t rows, size_t columns,
                             size_t part)
{
    const __m512i flip = _mm512_set1_epi8(0x08), field = _mm512_set1_epi8(0x0f), share = _mm512_set1_epi8(-8);
    /* -8 times the sum of each part of x, in every lane. */
    __m512i totals[4];
    for (size_t q = 0; q < 4; ++q) {
        __m512i total = _mm512_setzero_si512();
        for (size_t column = 0; column < columns; column += 64) {
            const __mmask64 valid = columns - column < 64 ? ((__mmask64)1 << (columns - column)) - 1 : ~(__mmask64)0;
            total = _mm512_dpbusd_epi32(total, _mm512_maskz_loadu_epi8(valid, x + q * part + column), share);
        }
        total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0x4e));
        total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0xb1));
        total = _mm512_add_epi32(total, _mm512_shuffle_epi32(total, (_MM_PERM_ENUM)0x4e));
        total = _mm512_add_epi32(total, _mm512_shuffle_epi32(total, (_MM_PERM_ENUM)0xb1));
        totals[q] = total;
    }
    const uint8_t *w = weight;
    for (size_t row = 0; row < rows; row += MODEL_TILE) {
        __m512i rr = totals[0], ri = totals[1], rj = totals[2], rk = totals[3];
        __m512i ir = totals[0], ii = totals[1], ij = totals[2], ik = totals[3];
        __m512i jr = totals[0], ji = totals[1], jj = totals[2], jk = totals[3];
        __m512i kr = totals[0], ki = totals[1], kj = totals[2], kk = totals[3];
        for (size_t column = 0; column < columns; column += 8, w += 256) {
            int32_t words[8];
            memcpy(words, x + column, 2 * sizeof *words);
            memcpy(words + 2, x + part + column, 2 * sizeof *words);
            memcpy(words + 4, x + 2 * part + column, 2 * sizeof *words);
            memcpy(words + 6, x + 3 * part + column, 2 * sizeof *words);
            const __m512i xr0 = _mm512_set1_epi32(words[0]), xr1 = _mm512_set1_epi32(words[1]);
            const __m512i xi0 = _mm512_set1_epi32(words[2]), xi1 = _mm512_set1_epi32(words[3]);
            const __m512i xj0 = _mm512_set1_epi32(words[4]), xj1 = _mm512_set1_epi32(words[5]);
            const __m512i xk0 = _mm512_set1_epi32(words[6]), xk1 = _mm512_set1_epi32(words[7]);
            /* 0x28: (codes ^ flip) & field */
            const __m512i r = _mm512_loadu_si512(w);
            const __m512i r0 = _mm512_ternarylogic_epi32(r, flip, field, 0x28);
            const __m512i r1 = _mm512_ternarylogic_epi32(_mm512_srli_epi16(r, 4), flip, field, 0x28);
            rr = _mm512_dpbusd_epi32(rr, xr0, r0);
            ri = _mm512_dpbusd_epi32(ri, xi0, r0);
            rj = _mm512_dpbusd_epi32(rj, xj0, r0);
            rk = _mm512_dpbusd_epi32(rk, xk0, r0);
            rr = _mm512_dpbusd_epi32(rr, xr1, r1);
            ri = _mm512_dpbusd_epi32(ri, xi1, r1);
            rj = _mm512_dpbusd_epi32(rj, xj1, r1);
            rk = _mm512_dpbusd_epi32(rk, xk1, r1);
            const __m512i i = _mm512_loadu_si512(w + 64);
            const __m512i i0 = _mm512_ternarylogic_epi32(i, flip, field, 0x28);
            const __m512i i1 = _mm512_ternarylogic_epi32(_mm512_srli_epi16(i, 4), flip, field, 0x28);
            ir = _mm512_dpbusd_epi32(ir, xr0, i0);
            ii = _mm512_dpbusd_epi32(ii, xi0, i0);
            ij = _mm512_dpbusd_epi32(ij, xj0, i0);
            ik = _mm512_dpbusd_epi32(ik, xk0, i0);
            ir = _mm512_dpbusd_epi32(ir, xr1, i1);
            ii = _mm512_dpbusd_epi32(ii, xi1, i1);
            ij = _mm512_dpbusd_epi32(ij, xj1, i1);
            ik = _mm512_dpbusd_epi32(ik, xk1, i1);
            const __m512i j = _mm512_loadu_si512(w + 128);
            const __m512i j0 = _mm512_ternarylogic_epi32(j, flip, field, 0x28);
            const __m512i j1 = _mm512_ternarylogic_epi32(_mm512_srli_epi16(j, 4), flip, field, 0x28);
            jr = _mm512_dpbusd_epi32(jr, xr0, j0);
            ji = _mm512_dpbusd_epi32(ji, xi0, j0);
            jj = _mm512_dpbusd_epi32(jj, xj0, j0);
            jk = _mm512_dpbusd_epi32(jk, xk0, j0);
            jr = _mm512_dpbusd_epi32(jr, xr1, j1);
            ji = _mm512_dpbusd_epi32(ji, xi1, j1);
            jj = _mm512_dpbusd_epi32(jj, xj1, j1);
            jk = _mm512_dpbusd_epi32(jk, xk1, j1);
            const __m512i k = _mm512_loadu_si512(w + 192);
            const __m512i k0 = _mm512_ternarylogic_epi32(k, flip, field, 0x28);
            const __m512i k1 = _mm512_ternarylogic_epi32(_mm512_srli_epi16(k, 4), flip, field, 0x28);
            kr = _mm512_dpbusd_epi32(kr, xr0, k0);
            ki = _mm512_dpbusd_epi32(ki, xi0, k0);
            kj = _mm512_dpbusd_epi32(kj, xj0, k0);
            kk = _mm512_dpbusd_epi32(kk, xk0, k0);
            kr = _mm512_dpbusd_epi32(kr, xr1, k1);
            ki = _mm512_dpbusd_epi32(ki, xi1, k1);
            kj = _mm512_dpbusd_epi32(kj, xj1, k1);
            kk = _mm512_dpbusd_epi32(kk, xk1, k1);
        }
        int32_t *y = acc + row;
        const __m512i yr = _mm512_sub_epi32(rr, _mm512_add_epi32(_mm512_add_epi32(ii, jj), kk));
        const __m512i yi = _mm512_sub_epi32(_mm512_add_epi32(_mm512_add_epi32(ri, ir), jk), kj);
        const __m512i yj = _mm512_sub_epi32(_mm512_add_epi32(_mm512_add_epi32(rj, jr), ki), ik);
        const __m512i yk = _mm512_sub_epi32(_mm512_add_epi32(_mm512_add_epi32(rk, ij), kr), ji);
        _mm512_storeu_si512(y, _mm512_add_epi32(_mm512_loadu_si512(y), yr));
        _mm512_storeu_si512(y + rows, _mm512_add_epi32(_mm512_loadu_si512(y + rows), yi));
        _mm512_storeu_si512(y + 2 * rows, _mm512_add_epi32(_mm512_loadu_si512(y + 2 * rows), yj));
        _mm512_storeu_si512(y + 3 * rows, _mm512_add_epi32(_mm512_loadu_si512(y + 3 * rows), yk));
    }
}
