// What the runtime launches itself: sums of replicas, squares for the norm, finite numbers, ranks of labels, what products lack,
// bits of two runs.
#include <stagecc/cu_card.cuh>

#include "tests/kernels/cuda_test.h"

CU_CARD_KERNELS

static const cu_card *const card = &rt_card_kernels;

static void expect(const char *what, bool good)
{
    if (!good)
        printf("  %s: NO\n", what);
    failed |= !good;
}

// In ascending order of the parts, one of which the sum replaces.
static void test_add(int n_parts, int64_t n, int divide)
{
    std::vector<float> want((size_t)n);
    std::vector<Tensor<float> *> parts;
    std::vector<const float *> at;
    for (int k = 0; k < n_parts; k++) {
        parts.push_back(new Tensor<float>(n));
        draw(*parts.back());
        at.push_back(parts.back()->f);
    }
    for (int64_t i = 0; i < n; i++) {
        float sum = at[0][i];
        for (int k = 1; k < n_parts; k++)
            sum += at[(size_t)k][i];
        want[(size_t)i] = sum / (float)divide;
    }
    Tensor<float> to(n);
    in_orders("sum of parts", {to},
              [&] { card->add(NULL, to.f, at.data(), n_parts, n, divide); });
    expect("the bits of the host's sum", !memcmp(to.f, want.data(), to.bytes()));
    card->add(NULL, parts.back()->f, at.data(), n_parts, n, divide);
    settle();
    expect("in place of a part", !memcmp(parts.back()->f, want.data(), to.bytes()));
    for (Tensor<float> *part : parts)
        delete part;
}

static void test_squares(int64_t n)
{
    Tensor<float> a(n), b(n);
    draw(a, 1);
    draw(b);
    const float *const at[] = {a.f, b.f};
    double want = 0;
    for (int64_t i = 0; i < n; i++)
        want += (double)(a.f[i] + b.f[i]) * (double)(a.f[i] + b.f[i]);
    Tensor<uint8_t> sum(sizeof(double)), room(card->squares_bytes(n));
    in_orders("sum of squares", {sum, room},
              [&] { card->squares(NULL, (double *)(void *)sum.f, room.f, at, 2, n); });
    double got;
    memcpy(&got, sum.f, sizeof got);
    printf("  %lld squares: off by %.1e\n", (long long)n, fabs(got - want) / want);
    expect("the sum of squares", fabs(got - want) <= 1e-13 * want);
}

// Of items, each of which has a bad element or none, the largest name; and what was noted before stays where it is larger.
static void test_watch(int n_items, int64_t n)
{
    std::vector<Tensor<float> *> parts;
    std::vector<cu_watched> items;
    for (int k = 0; k < n_items; k++) {
        parts.push_back(new Tensor<float>(n + k));
        draw(*parts.back());
        items.push_back({parts.back()->f, n + k, 10 * (k + 1)});
    }
    auto noted = [&](int32_t before) {
        int32_t bad = before;
        bool same = true;
        for (cu_order = 0; cu_order < CU_ORDERS; cu_order++) {
            Numbers<int32_t> now = {before};
            card->watch(NULL, now.data(), items.data(), n_items);
            settle();
            same &= !cu_order || now[0] == bad;
            bad = now[0];
        }
        cu_order = 0;
        expect("one answer in every order", same);
        return bad;
    };
    expect("good numbers are good", noted(0) == 0);
    for (int64_t where : {(int64_t)0, n / 2, n - 1})
        for (float what : {INFINITY, -INFINITY, NAN}) {
            parts[0]->f[where] = what;
            expect("what is not finite is found", noted(0) == 10);
            parts.back()->f[n + n_items - 2] = what;
            expect("the last of them counts", noted(0) == 10 * n_items);
            expect("what was noted stays", noted(10 * n_items + 1) == 10 * n_items + 1);
            draw(*parts[0]);
            draw(*parts.back());
        }
    for (Tensor<float> *part : parts)
        delete part;
}

// The rank as evaluation counts it: of equal logits the lower class comes first.
template <typename T> static void test_score(int64_t rows, int64_t classes, int64_t row)
{
    Tensor<T> logits(rows * row);
    Numbers<int32_t> labels((size_t)rows), room((size_t)rows);
    Numbers<cu_hits> hits(1);
    cu_hits want = {};
    for (int64_t i = 0; i < logits.n; i++)
        logits.set(i,
                   i % row < classes ? (double)((i * 7919) % 13) : 100); // more than all others
    for (int64_t r = 0; r < rows; r++)
        labels[(size_t)r] = (int32_t)(r % 5 == 1   ? -1
                                      : r % 7 == 3 ? classes
                                                   : (r * 31) % classes);
    // First, third, somewhere, and not a number.
    for (int64_t r = 0; r < rows; r++) {
        const int32_t label = labels[(size_t)r];
        if (label < 0 || label >= classes || r % 4 == 2)
            continue;
        logits.set(r * row + label, r % 4 < 2 ? 50 : NAN);
        for (int k = 1; k < 3 && r % 4 == 1; k++)
            logits.set(r * row + (label + k) % classes, 60);
    }
    for (int64_t r = 0; r < rows; r++) {
        const int64_t label = labels[(size_t)r];
        if (label < 0)
            continue;
        want.rows++;
        const float own = label < classes ? cu_to_float(logits.f[r * row + label]) : NAN;
        if (isnan(own))
            continue;
        int64_t rank = 0;
        for (int64_t c = 0; c < classes; c++) {
            const float x = cu_to_float(logits.f[r * row + c]);
            rank += x > own || (x == own && c < label);
        }
        want.first += rank < 1;
        want.fifth += rank < 5;
    }
    card->score(NULL, hits.data(), room.data(), logits.f, sizeof(T) == 2, labels.data(), rows,
                classes, row);
    settle();
    const cu_hits got = hits[0];
    printf("  %lld rows of %lld classes: %llu labels, %llu first, %llu among five\n",
           (long long)rows, (long long)classes, (unsigned long long)got.rows,
           (unsigned long long)got.first, (unsigned long long)got.fifth);
    expect("the ranks of labels", !memcmp(&got, &want, sizeof got));
    expect("some are first, some are not",
           got.first > 0 && got.first < got.fifth && got.fifth < got.rows);
}

static double finished(double x, int relu, int gelu)
{
    const double inner = 0.7978845608028654 * (x + 0.044715 * x * x * x);
    return relu && x < 0 ? 0 : gelu ? x / 2 * (1 + tanh(inner)) : x;
}

// In place, in rows and batches that lie apart; what lies between them stays.
template <typename T> static void test_finish(int relu, int gelu, bool biased, bool keeps)
{
    const int64_t m = 37, n = 41, row = 48, inner = 40 * row, outer = 3 * inner;
    Tensor<T> before(2 * outer), c(2 * outer), aux(2 * outer), bias(n);
    Tensor<uint8_t> first(2 * (int64_t)c.bytes());
    draw(before);
    draw(bias);
    for (int64_t i = 0; i < c.n; i++) {
        const int64_t column = i % row, line = i % inner / row;
        const bool inside = column < n && line < m;
        const double x = before.d[(size_t)i] + (inside && biased ? bias.d[(size_t)column] : 0);
        c.d[(size_t)i] = inside ? finished(x, relu, gelu) : x;
        aux.d[(size_t)i] = inside && keeps ? x : before.d[(size_t)i];
    }
    for (cu_order = 0; cu_order < CU_ORDERS; cu_order++) {
        memcpy((void *)c.f, before.f, c.bytes());
        memcpy((void *)aux.f, before.f, aux.bytes());
        const cu_product p = {c.f,
                              keeps ? aux.f : NULL,
                              biased ? bias.f : NULL,
                              sizeof(T) == 2,
                              relu,
                              gelu,
                              {2, 3},
                              m,
                              n,
                              {outer, inner, row}};
        card->finish(NULL, &p);
        settle();
        if (!cu_order) {
            memcpy(first.f, c.f, c.bytes());
            memcpy(first.f + c.bytes(), aux.f, aux.bytes());
        }
        expect("the same bits in every order",
               !memcmp(first.f, c.f, c.bytes()) &&
                   !memcmp(first.f + c.bytes(), aux.f, aux.bytes()));
    }
    cu_order = 0;
    close_to("finished products", c, sizeof(T) == 2 ? 1e-2 : 1e-5);
    close_to("what gelu is of", aux, sizeof(T) == 2 ? 1e-2 : 1e-5);
    bool kept = true;
    for (int64_t i = 0; i < c.n; i++)
        if (i % row >= n || i % inner / row >= m)
            kept &= cu_to_float(c.f[i]) == cu_to_float(before.f[i]);
    expect("nothing is written between rows", kept);
}

// One bit, wherever it is; and what was noted stays.
static void test_compare(int64_t words)
{
    Numbers<uint32_t> a((size_t)words), b((size_t)words);
    for (size_t i = 0; i < a.size(); i++)
        a[i] = b[i] = (uint32_t)i * 2654435761;
    auto noted = [&](int32_t before) {
        Numbers<int32_t> differ = {before};
        card->compare(NULL, differ.data(), a.data(), b.data(), words);
        settle();
        return differ[0];
    };
    expect("the same is the same", noted(0) == 0);
    expect("what was noted stays", noted(1) == 1);
    for (size_t where : {(size_t)0, a.size() / 2, a.size() - 1}) {
        b[where] ^= 0x80000000;
        expect("a bit is seen", noted(0) == 1);
        b[where] = a[where];
    }
}

template <typename T> static void test_finishes()
{
    test_finish<T>(0, 0, true, false);
    test_finish<T>(1, 0, false, false);
    test_finish<T>(1, 0, true, false);
    test_finish<T>(0, 1, true, false);
    test_finish<T>(0, 1, false, true);
    test_finish<T>(0, 1, true, true);
}

int main()
{
    test_add(1, 5, 1);
    test_add(3, 4097, 3);
    test_add(CU_MOST_PARTS, 300, 1);
    for (int64_t n : {(int64_t)1, (int64_t)4096, (int64_t)20001})
        test_squares(n);
    test_watch(1, 1);
    test_watch(3, 9000);
    test_watch(CU_MOST_PARTS, 300);
    test_score<float>(60, 10, 10);
    test_score<rt_bf16>(60, 300, 300);
    test_score<rt_bf16>(60, 301, 304);
    for (int64_t words : {(int64_t)1, (int64_t)4097})
        test_compare(words);
    test_finishes<float>();
    test_finishes<rt_bf16>();
    return failed;
}
