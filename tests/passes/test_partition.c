// The partition against all splits of small random models, costed anew from the graph.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/passes/random_model.h"

#include <math.h>
#include <stdio.h>

typedef struct Split {
    double slowest;
    int64_t moved;
} Split;

static int stage_of(const int *cuts, int unit)
{
    int s = 0;
    while (cuts[s] < unit)
        s++;
    return s;
}

// Users of parameters, accumulators and state share a stage.
static bool legal(const Model *m, const int *cuts)
{
    for (int i = 0; i < m->g->nodes.n; i++) {
        const Node *n = m->g->nodes.items[i];
        for (int k = 0; k < n->n_inputs; k++)
            if (node_is(n->inputs[k], 'L') && n->inputs[k]->op != OP_INPUT &&
                n->inputs[k]->op != OP_CONSTANT &&
                stage_of(cuts, n->unit) != stage_of(cuts, n->inputs[k]->unit))
                return false;
    }
    return true;
}

// Every activation is paid for once by its maker's stage, if it leaves, and once by every stage that
// reads it.
static Split cost(const Model *m, const int *cuts, int stages, double *seconds)
{
    Split result = {0};
    for (int s = 0; s < stages; s++)
        seconds[s] = 0;
    for (int u = 0; u < m->plan.n_units; u++)
        seconds[stage_of(cuts, u)] += m->plan.units[u].forward_s + m->plan.units[u].backward_s;
    for (int i = 0; i < m->g->nodes.n; i++) {
        const Node *n = m->g->nodes.items[i];
        bool read[16] = {0}, leaves = false;
        if (n->phase != PHASE_FORWARD || n->op == OP_PARAM)
            continue;
        int made = stage_of(cuts, n->unit);
        for (int k = 0; k < m->g->nodes.n; k++)
            for (int j = 0; j < m->g->nodes.items[k]->n_inputs; j++)
                if (m->g->nodes.items[k]->inputs[j] == n)
                    read[stage_of(cuts, m->g->nodes.items[k]->unit)] = true;
        for (int s = 0; s < stages; s++)
            if (read[s] && s != made) {
                leaves = true;
                seconds[s] += 128 / 7e9;
                result.moved += 128;
            }
        seconds[made] += leaves ? 128 / 7e9 : 0;
    }
    for (int s = 0; s < stages; s++)
        result.slowest = fmax(result.slowest, seconds[s]);
    return result;
}

static bool better(Split a, Split b)
{
    if (fabs(a.slowest - b.slowest) > 1e-15)
        return a.slowest < b.slowest;
    return a.moved < b.moved;
}

// Returns whether any split into this many stages is legal.
static bool brute_force(const Model *m, int stages, int *cuts, int stage, Split *best)
{
    bool any = false;
    if (stage == stages - 1) {
        cuts[stage] = m->plan.n_units - 1;
        if (!legal(m, cuts))
            return false;
        double seconds[16];
        Split s = cost(m, cuts, stages, seconds);
        *best = better(s, *best) ? s : *best;
        return true;
    }
    int first = stage ? cuts[stage - 1] + 1 : 0;
    for (cuts[stage] = first; cuts[stage] < m->plan.n_units - (stages - 1 - stage);
         cuts[stage]++)
        any |= brute_force(m, stages, cuts, stage + 1, best);
    return any;
}

static void prepare(Model *m, int stages)
{
    m->options.micro_batches = m->options.batch = 4;
    m->plan = (Plan){.options = m->options};
    m->c.stages = stages;
    pass_layout(&m->c);
    pass_cost(&m->c);
    for (int u = 0; u < m->plan.n_units; u++) {
        m->plan.units[u].forward_s = 1e-8 * random_below(5);
        m->plan.units[u].backward_s = 1e-8 * random_below(9);
    }
}

static void optimal_on_small_models(void **state)
{
    (void)state;
    diag_output(fopen("/dev/null", "w"), false);
    for (int round = 0; round < 400; round++) {
        random_state = (uint64_t)round * 6151 + 1;
        Model *m = random_model(2 + random_below(8), 30);
        int stages = 1 + random_below(5), cuts[16];
        prepare(m, stages);
        pass_partition(&m->c);
        Split best = {INFINITY, 0};
        bool possible = stages <= m->plan.n_units && brute_force(m, stages, cuts, 0, &best);
        assert_int_equal(m->plan.n_stages, possible ? stages : 0);
        assert_int_equal(m->c.no_plan, !possible);
        for (int s = 0; s < m->plan.n_stages; s++)
            cuts[s] = m->plan.stages[s].last_unit;
        if (possible) {
            assert_true(legal(m, cuts));
            double seconds[16];
            Split found = cost(m, cuts, stages, seconds);
            assert_true(fabs(found.slowest - best.slowest) < 1e-15);
            assert_int_equal(found.moved, best.moved);
            assert_true(fabs(m->plan.lower_bound_s - 4 * best.slowest) < 1e-14);
        }
        free_model(m);
    }
    diag_reset();
}

// Replicas that are chosen
// ----------------------------------------------------------------------------------------------

typedef struct Chosen {
    int n, cuts[16], replicas[16];
} Chosen;

static bool flushes(const Model *m)
{
    return !schedule_asynchronous(&m->options);
}

// Per micro-batch; with a flush, without the one that passes every stage: docs/planner.md, "Models".
static double beside_one(const Model *m, const Chosen *p)
{
    double seconds[16], most = 0, micro_batches = (double)m->options.micro_batches;
    cost(m, p->cuts, p->n, seconds);
    for (int s = 0; s < p->n; s++) {
        int r = p->replicas[s];
        double gradients = 0, own = ceil(micro_batches / r) - flushes(m);
        for (int i = 0; i < m->g->nodes.n; i++) {
            const Node *n = m->g->nodes.items[i];
            gradients += n->op == OP_ACCUMULATOR && stage_of(p->cuts, n->unit) == s ? 256 : 0;
        }
        double sync = r > 1 ? (2.0 * (r - 1) / r + 1) * gradients / 7e9 : 0;
        most = fmax(most, (own * seconds[s] + sync) / micro_batches);
    }
    return most;
}

static void try_all(const Model *m, Chosen *p, int machines, double *best)
{
    int first = p->n ? p->cuts[p->n - 1] + 1 : 0;
    for (int r = 1; r <= machines && r <= m->options.micro_batches; r++) {
        p->replicas[p->n] = r;
        if (!flushes(m) && m->options.micro_batches % r)
            continue;
        if (r == machines) {
            p->cuts[p->n++] = m->plan.n_units - 1;
            if (first < m->plan.n_units && legal(m, p->cuts))
                *best = fmin(*best, beside_one(m, p));
            p->n--;
            continue;
        }
        for (int last = first; last < m->plan.n_units - 1; last++) {
            p->cuts[p->n++] = last;
            try_all(m, p, machines - r, best);
            p->replicas[--p->n] = r;
        }
    }
}

static void chooses_replicas(void **state)
{
    (void)state;
    diag_output(fopen("/dev/null", "w"), false);
    int data_parallel = 0, mixed = 0, straight = 0;
    for (int round = 0; round < 300; round++) {
        random_state = (uint64_t)round * 24593 + 1;
        Model *m = random_model(2 + random_below(6), 30);
        int machines = 1 + random_below(5);
        prepare(m, machines);
        m->options.micro_batches = m->options.batch = 2 + random_below(6);
        m->options.schedule = round % 5 ? "1f1b" : "pipedream";
        m->plan.options = m->options;
        m->c.choose_replicas = true;
        for (int u = 0; u < m->plan.n_units && round % 2; u++) { // gradients weigh more
            m->plan.units[u].forward_s /= 20;
            m->plan.units[u].backward_s /= 20;
        }
        pass_partition(&m->c);
        Chosen p = {0};
        double best = INFINITY;
        try_all(m, &p, machines, &best);
        assert_int_equal(m->c.no_plan, isinf(best));
        for (p.n = 0; p.n < m->plan.n_stages; p.n++) {
            p.cuts[p.n] = m->plan.stages[p.n].last_unit;
            p.replicas[p.n] = m->plan.stages[p.n].replicas;
        }
        if (!isinf(best)) {
            assert_int_equal(m->plan.n_ranks, machines);
            assert_true(legal(m, p.cuts));
            assert_true(fabs(beside_one(m, &p) - best) < 1e-15);
            data_parallel += machines > 1 && m->plan.n_stages == 1;
            mixed += m->plan.n_stages > 1 && machines > m->plan.n_stages;
            straight += machines > 1 && machines == m->plan.n_stages;
        }
        free_model(m);
    }
    assert_true(data_parallel > 20 && mixed > 20 && straight > 5);
    diag_reset();
}

// Messages
// ----------------------------------------------------------------------------------------------

static char *text;
static size_t text_size;

static FILE *listen(void)
{
    FILE *f = open_memstream(&text, &text_size);
    diag_output(f, false);
    return f;
}

static void heard(FILE *f, const char *what)
{
    fclose(f);
    if (!strstr(text, what))
        print_error("expected \"%s\" in:\n%s", what, text);
    assert_non_null(strstr(text, what));
    free(text);
    diag_output(stderr, false);
    diag_reset();
}

static void says_why_not(void **state)
{
    (void)state;
    random_state = 3;
    Model *m = random_model(5, 0);
    prepare(m, 7);
    FILE *f = listen();
    pass_partition(&m->c);
    heard(f, "7 stages are too many: the model has 6 units and 5 places to cut, so at most "
             "6 stages");
    assert_true(m->c.no_plan);

    prepare(m, 2);
    m->c.memory_limit = 100;
    f = listen();
    pass_partition(&m->c);
    heard(f, "no cut into 2 stages fits: 100 B a stage are allowed, and the best cut needs ");

    m->c.memory_limit = 0;
    m->c.no_plan = false;
    m->c.fixed_cuts = (int[]){5};
    f = listen();
    pass_partition(&m->c);
    heard(f, "the plan cuts after unit 5, where this model (6 units) cannot be cut");
    assert_false(m->c.no_plan);
    free_model(m);
}

static void honours_fixed_cuts(void **state)
{
    (void)state;
    random_state = 3;
    Model *m = random_model(5, 0);
    prepare(m, 3);
    m->c.fixed_cuts = (int[]){0, 1};
    pass_partition(&m->c);
    assert_int_equal(m->plan.stages[0].last_unit, 0);
    assert_int_equal(m->plan.stages[1].last_unit, 1);
    assert_int_equal(m->plan.stages[2].last_unit, 5);
    free_model(m);
}

// The least limit that the partition accepts is what the message says, and the stages obey it.
static void memory_decides_the_cut(void **state)
{
    (void)state;
    for (int round = 0; round < 30; round++) {
        random_state = (uint64_t)round * 12289 + 1;
        Model *m = random_model(8, 0);
        diag_output(fopen("/dev/null", "w"), false);
        int64_t low = 1, high = 1 << 20; // fails, works
        while (high - low > 1) {
            m->c.memory_limit = (low + high) / 2;
            uint64_t saved = random_state;
            m->c.no_plan = false;
            prepare(m, 3);
            random_state = saved;
            pass_partition(&m->c);
            *(m->c.no_plan ? &low : &high) = m->c.memory_limit;
        }
        m->c.memory_limit = low;
        prepare(m, 3);
        FILE *f = listen();
        pass_partition(&m->c);
        char bytes[32], expected[64];
        snprintf(expected, sizeof expected, "needs %s;", human_bytes(bytes, high));
        heard(f, expected);
        free_model(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optimal_on_small_models), cmocka_unit_test(chooses_replicas),
        cmocka_unit_test(says_why_not), cmocka_unit_test(honours_fixed_cuts),
        cmocka_unit_test(memory_decides_the_cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
