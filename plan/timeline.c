// A simulation as pictures. Large ones have millions of events, which no viewer and no eye can take,
// so both outputs are cut off, the picture at a number of rows and of boxes, and say so.
#include "plan/schedule.h"
#include "plan/simulate.h"
#include "plan/walk.h"

#include <math.h>

// Chrome's trace events
// ---------------------------------------------------------------------------------

void timeline_trace(Text *out, const Simulation *s, int64_t most)
{
    int64_t n = s->n_events < most ? s->n_events : most;
    text_printf(out,
                "{\"displayTimeUnit\": \"ms\", \"complete\": %s, \"events_left_out\": %lld, "
                "\"traceEvents\": [",
                n == s->n_events ? "true" : "false", (long long)(s->n_events - n));
    for (int w = 0, replica = 0; w < s->n_workers; w++) {
        int stage = s->worker_stage[w];
        replica = w && s->worker_stage[w - 1] == stage ? replica + 1 : 0;
        text_printf(out,
                    "%s\n{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": %d, \"args\": "
                    "{\"name\": \"stage %d\"}},\n{\"name\": \"thread_name\", \"ph\": \"M\", "
                    "\"pid\": %d, \"tid\": %d, \"args\": {\"name\": \"replica %d\"}}",
                    w ? "," : "", stage, stage, stage, w, replica);
    }
    for (int64_t i = 0; i < n; i++) {
        const SimEvent *e = &s->events[i];
        text_printf(
            out,
            ",\n{\"name\": \"%s\", \"cat\": \"work\", \"ph\": \"X\", \"pid\": %d, \"tid\": "
            "%d, \"ts\": %.3f, \"dur\": %.3f, \"args\": {\"step\": %u, \"mb\": %u}}",
            opcode_name[e->opcode], s->worker_stage[e->worker], e->worker, 1e6 * e->begin_s,
            1e6 * (e->end_s - e->begin_s), e->step + 1, e->mb);
    }
    text_puts(out, "\n]}\n");
}

// Gantt chart
// -------------------------------------------------------------------------------------------

enum { MAX_ROWS = 200, MAX_BOXES = 20000, LEFT = 90, TOP = 58, WIDTH = 1400 };

typedef struct Chart {
    const Simulation *s;
    Text *out;
    int rows, row_px;
    int64_t boxes; // drawn: the first of those in the rows shown
    double end_s;  // right edge
} Chart;

static const struct Colour {
    rt_opcode opcode;
    const char *fill;
} colours[] = {
    {RT_FORWARD, "#7fb2e5"},         {RT_BACKWARD, "#f2b26b"},   {RT_UPDATE, "#8fc98b"},
    {RT_BACKWARD_WEIGHT, "#f7dcb8"}, {RT_LOAD, "#c9c9c9"},       {RT_BACKWARD_PART, "#f2b26b"},
    {RT_REDUCE_PUT, "#e0c341"},      {RT_REDUCE_SUM, "#e0c341"}, {RT_REDUCE_GET, "#e0c341"},
    {RT_SHARE_PUT, "#e0c341"},       {RT_SHARE_GET, "#e0c341"},  {RT_NORM_GATHER, "#c7a6d8"}};

static const char *fill_of(uint8_t opcode)
{
    for (size_t i = 0; i < sizeof colours / sizeof *colours; i++)
        if (colours[i].opcode == opcode)
            return colours[i].fill;
    return "#b0b0b0";
}

static double x_of(const Chart *c, double seconds)
{
    return LEFT + (c->end_s > 0 ? seconds / c->end_s : 0) * WIDTH;
}

static Chart chart_of(Text *out, const Simulation *s)
{
    Chart c = {.s = s, .out = out, .rows = s->n_workers < MAX_ROWS ? s->n_workers : MAX_ROWS};
    c.row_px = c.rows > 100 ? 5 : c.rows > 40 ? 12 : 24;
    for (int64_t i = 0; i < s->n_events && c.boxes < MAX_BOXES; i++)
        if (s->events[i].worker < c.rows) {
            c.boxes++;
            c.end_s = fmax(c.end_s, s->events[i].end_s);
        }
    return c;
}

// Ticks at 1, 2 or 5 times a power of ten.
static void draw_axis(const Chart *c)
{
    double unit = pow(10, floor(log10(c->end_s / 8)));
    double step = c->end_s / unit / 8 < 2   ? 2 * unit
                  : c->end_s / unit / 8 < 5 ? 5 * unit
                                            : 10 * unit;
    int bottom = TOP + c->rows * c->row_px;
    for (int i = 0; i * step <= c->end_s; i++)
        text_printf(c->out,
                    "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#dddddd\"/>"
                    "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g ms</text>\n",
                    x_of(c, i * step), x_of(c, i * step), TOP, bottom, x_of(c, i * step),
                    bottom + 16, round(1e6 * i * step) / 1e3);
}

static void draw_rows(const Chart *c)
{
    for (int w = 0, replica = 0; w < c->rows; w++) {
        int stage = c->s->worker_stage[w], y = TOP + w * c->row_px;
        replica = w && c->s->worker_stage[w - 1] == stage ? replica + 1 : 0;
        if (c->row_px < 12 && w % 10)
            continue;
        text_printf(c->out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LEFT - 6,
                    y + (c->row_px + 8) / 2);
        text_printf(c->out, c->s->plan->stages[stage].replicas > 1 ? "stage %d.%d" : "stage %d",
                    stage, replica);
        text_puts(c->out, "</text>\n");
    }
}

static void draw_box(const Chart *c, const SimEvent *e)
{
    double x = x_of(c, e->begin_s), width = x_of(c, e->end_s) - x;
    int y = TOP + e->worker * c->row_px;
    text_printf(c->out,
                "<rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"%s\" "
                "stroke=\"#555555\" stroke-width=\"%s\"><title>%s %u, step %u: %.4g to %.4g "
                "ms</title></rect>\n",
                x, y + 1, width, c->row_px - 2, fill_of(e->opcode), width < 4 ? "0" : "0.5",
                opcode_name[e->opcode], e->mb, e->step + 1, 1e3 * e->begin_s, 1e3 * e->end_s);
    bool numbered =
        e->opcode == RT_FORWARD || e->opcode == RT_BACKWARD || e->opcode == RT_BACKWARD_WEIGHT;
    double digits = e->mb < 10 ? 1 : e->mb < 100 ? 2 : e->mb < 1000 ? 3 : 5;
    if (numbered && c->row_px >= 12 && width > 7 * digits + 3)
        text_printf(c->out, "<text x=\"%.2f\" y=\"%d\" text-anchor=\"middle\">%u</text>\n",
                    x + width / 2, y + (c->row_px + 8) / 2, e->mb);
}

static void draw_legend(const Chart *c)
{
    int x = LEFT, shown = schedule_splits(&c->s->plan->options) ? 4 : 3;
    for (int i = 0; i < shown; i++, x += 100)
        text_printf(c->out,
                    "<rect x=\"%d\" y=\"34\" width=\"14\" height=\"12\" fill=\"%s\"/><text "
                    "x=\"%d\" y=\"44\">%s</text>\n",
                    x, colours[i].fill, x + 20, opcode_name[colours[i].opcode]);
    if (c->boxes == c->s->n_events)
        return;
    text_printf(c->out,
                "<text x=\"%d\" y=\"44\">%lld of %lld events, %d of %d rows: the rest is left "
                "out</text>\n",
                x, (long long)c->boxes, (long long)c->s->n_events, c->rows, c->s->n_workers);
}

void timeline_svg(Text *out, const Simulation *s)
{
    Chart c = chart_of(out, s);
    int height = TOP + c.rows * c.row_px + 30;
    text_printf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
        "font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%%\" "
        "height=\"100%%\" fill=\"white\"/>\n<text x=\"%d\" y=\"20\" font-size=\"14\">%d "
        "stages, %s, %d micro-batches: %.4g ms a step, bubble %.1f %%</text>\n",
        LEFT + WIDTH + 30, height, LEFT, s->plan->n_stages, s->plan->options.schedule,
        s->micro_batches, 1e3 * s->step_s, 100 * s->bubble);
    draw_legend(&c);
    if (c.end_s > 0)
        draw_axis(&c);
    draw_rows(&c);
    for (int64_t i = 0, left = c.boxes; left; i++)
        if (s->events[i].worker < c.rows) {
            draw_box(&c, &s->events[i]);
            left--;
        }
    text_puts(out, "</svg>\n");
}
