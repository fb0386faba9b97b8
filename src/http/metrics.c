/* SPDX-License-Identifier: MIT */
#include "http/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/shared.h"
#include "db/statement.h"
#include "workflow/registry.h"

#define LABELS_MAX 2
#define TEXT_MAX   4194304 /* bytes of an answer */

enum source { SOURCE_TABLES, SOURCE_SHARED };

static const struct metric {
    enum source source;
    const char *key, *type, *name, *unit, *labels, *values, *help;
} metrics_table[] = {
#define METRIC(source, key, type, name, unit, labels, values, help)                                \
    {SOURCE_##source, key, type, name, unit, labels, values, help},
#include "http/metric.def"
#undef METRIC
};
#define METRICS_COUNT (sizeof(metrics_table) / sizeof(metrics_table[0]))
#define VALUES_MAX    4096 /* bytes of the label values of one metric that are there from zero */

/* Steps that are there from zero: those of our workflows, and what they do by the engine. */
static const char *const known_steps[] = {
    "validateMessage", "storeMessage",     "routeMessage",
    "validateAgent",   "createAgent",      "configureAgent",
    "validateRequest", "changeStatus",     "validateHeartbeat",
    "beginHeartbeat",  "recordHeartbeat",  "scheduleHeartbeat",
    "validateChat",    "storeUserMessage", "storeAssistantMessage",
    "composeGreeting", "sendGreeting",     "routeAgentMessage",
    "DBOS.sleep",      "DBOS.getResult",
};
#define KNOWN_STEPS (sizeof(known_steps) / sizeof(known_steps[0]))

/* Upper bounds of requests' durations, in milliseconds. */
static const int64_t request_bounds[] = {1, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30000};
#define REQUEST_BOUNDS (sizeof(request_bounds) / sizeof(request_bounds[0]))
/* Those of sql/function/090_metrics.sql, metric_buckets(). */
static const int64_t step_bounds[] = {5,    10,    50,    100,    500,    1000,
                                      5000, 10000, 60000, 600000, 3600000};
#define STEP_BOUNDS (sizeof(step_bounds) / sizeof(step_bounds[0]))

/* The status codes there are: of the error table, and of what goes well. */
static const int codes[] = {200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 406, 408, 409,
                            411, 412, 413, 415, 422, 428, 429, 500, 501, 502, 503, 504};
#define CODES (sizeof(codes) / sizeof(codes[0]))
static const char *const classes[] = {"2xx", "3xx", "4xx", "5xx"};
#define CLASSES    4
#define ROUTES_MAX 128

struct metrics {
    struct http_server *server;
    struct worker_state *state;
    const char *values[METRICS_COUNT];            /* of the table, "*" written out */
    shared_word busy;                             /* requests that this process answers now */
    shared_word *routes[ROUTES_MAX + 1][CLASSES]; /* the last: no route */
    shared_word *codes[CODES], *other_codes;
    shared_word *buckets[REQUEST_BOUNDS + 1], *took_ms;
    pthread_mutex_t mutex;
    struct arena *arena; /* of what the database said last */
    struct db_rows *rows;
    int64_t until_ms;
};

/* ---- counting ------------------------------------------------------------------------------- */

static size_t route_count(void)
{
    size_t count = 0;

    while (http_routes[count].path != NULL && count < ROUTES_MAX)
        count++;
    return count;
}

static void route_counter_name(const struct http_route *route, const char *class, char *ret_name,
                               size_t size)
{
    if (route != NULL)
        (void)snprintf(ret_name, size, "http %s %s %s", http_method_name(route_method(route)),
                       route->path, class);
    else
        (void)snprintf(ret_name, size, "http - - %s", class);
}

/* "*" of a value stands for each workflow there is. */
static const char *write_out(const char *values)
{
    struct buffer out;
    char *text;

    if (values == NULL || strchr(values, '*') == NULL)
        return values;
    buffer_init(&out, VALUES_MAX);
    for (const struct workflow_definition *each = workflow_definitions; each->name != NULL; each++)
        for (const char *rest = values; *rest != '\0';) {
            size_t len = strcspn(rest, " ");

            buffer_printf(&out, "%s%s%.*s", out.len > 0 ? " " : "", each->name, (int)len - 1,
                          rest + 1);
            rest += len + (rest[len] == ' ');
        }
    text = strndup(buffer_text(&out).data, out.len);
    if (text == NULL || out.overflowed)
        abort();
    buffer_release(&out);
    return text;
}

struct metrics *metrics_new(struct http_server *server)
{
    struct metrics *metrics = calloc(1, sizeof(*metrics));
    char name[COUNTER_NAME_MAX + 1];
    size_t routes = route_count();

    if (metrics == NULL)
        abort();
    for (size_t i = 0; i < METRICS_COUNT; i++)
        metrics->values[i] = write_out(metrics_table[i].values);
    metrics->server = server;
    metrics->state = worker_state_take();
    metrics->arena = arena_new();
    pthread_mutex_init(&metrics->mutex, NULL);
    for (size_t i = 0; i <= routes; i++)
        for (size_t k = 0; k < CLASSES; k++) {
            route_counter_name(i < routes ? &http_routes[i] : NULL, classes[k], name, sizeof(name));
            metrics->routes[i][k] = counter_of(name);
        }
    for (size_t i = 0; i < CODES; i++) {
        (void)snprintf(name, sizeof(name), "http_code %d", codes[i]);
        metrics->codes[i] = counter_of(name);
    }
    metrics->other_codes = counter_of("http_code other");
    for (size_t i = 0; i <= REQUEST_BOUNDS; i++) {
        (void)snprintf(name, sizeof(name), "http_took %zu", i);
        metrics->buckets[i] = counter_of(name);
    }
    metrics->took_ms = counter_of("http_took_ms");
    return metrics;
}

void metrics_begun(struct metrics *metrics)
{
    counter_add(&metrics->busy, 1);
}

void metrics_answered(struct metrics *metrics, const struct http_route *route, int status,
                      int64_t took_ms)
{
    size_t index = route != NULL ? (size_t)(route - http_routes) : route_count();
    size_t class = status < 300 ? 0 : status < 400 ? 1 : status < 500 ? 2 : 3;
    shared_word *code = metrics->other_codes;
    size_t bucket = 0;

    atomic_fetch_sub(&metrics->busy, 1);
    for (size_t i = 0; i < CODES; i++)
        if (codes[i] == status)
            code = metrics->codes[i];
    while (bucket < REQUEST_BOUNDS && took_ms > request_bounds[bucket])
        bucket++;
    counter_add(metrics->routes[index <= ROUTES_MAX ? index : ROUTES_MAX][class], 1);
    counter_add(code, 1);
    counter_add(metrics->buckets[bucket], 1);
    counter_add(metrics->took_ms, took_ms > 0 ? (uint64_t)took_ms : 0);
}

void metrics_show(struct metrics *metrics)
{
    const struct options *options = metrics->server->options;
    size_t busy, waiting;

    db_pool_use(metrics->server->pool, &busy, &waiting);
    atomic_store(&metrics->state->threads, (uint64_t)options->http_threads);
    atomic_store(&metrics->state->threads_busy, atomic_load(&metrics->busy));
    atomic_store(&metrics->state->connections, (uint64_t)options->db_pool_size);
    atomic_store(&metrics->state->connections_busy, busy);
    atomic_store(&metrics->state->waiting, waiting);
}

/* ---- writing -------------------------------------------------------------------------------- */

static void put_family(struct buffer *out, const char *name, const char *type, const char *unit,
                       const char *help)
{
    buffer_printf(out, "# TYPE %s %s\n", name, type);
    if (unit[0] != '\0')
        buffer_printf(out, "# UNIT %s %s\n", name, unit);
    buffer_printf(out, "# HELP %s %s.\n", name, help);
}

static void put_escaped(struct buffer *out, struct text value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] == '\n')
            buffer_append_string(out, "\\n");
        else if (value.data[i] == '"' || value.data[i] == '\\')
            buffer_printf(out, "\\%c", value.data[i]);
        else
            buffer_printf(out, "%c", value.data[i]);
    }
}

/* {a="1",b="2"}, or nothing */
static void put_labels(struct buffer *out, const char *names, const struct text *values,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strcspn(names, " ");

        buffer_printf(out, "%s%.*s=\"", i == 0 ? "{" : ",", (int)len, names);
        put_escaped(out, values[i]);
        buffer_append_string(out, "\"");
        names += len + (names[len] == ' ');
    }
    if (count > 0)
        buffer_append_string(out, "}");
}

/* Milliseconds as seconds, 0.01, 1.0: the canonical numbers of OpenMetrics 1.0, under which the
   buckets of all exporters are one series. */
static void put_ms(struct buffer *out, int64_t ms)
{
    int digits = ms % 100 == 0 ? 1 : ms % 10 == 0 ? 2 : 3;
    int64_t fraction = ms % 1000 / (digits == 1 ? 100 : digits == 2 ? 10 : 1);

    buffer_printf(out, "%lld.%0*lld", (long long)(ms / 1000), digits, (long long)fraction);
}

static void put_sample(struct buffer *out, const struct metric *metric, const struct text *values,
                       size_t count, int64_t value)
{
    buffer_printf(out, "%s%s", metric->name, strcmp(metric->type, "counter") == 0 ? "_total" : "");
    put_labels(out, metric->labels, values, count);
    buffer_append_string(out, " ");
    if (metric->unit[0] != '\0')
        put_ms(out, value);
    else
        buffer_printf(out, "%lld", (long long)value);
    buffer_append_string(out, "\n");
}

/* ---- what the tables say ----------------------------------------------------------------------
 */

/* One of the values of a row of the table: "a/b" to its parts. */
static size_t split(struct text value, struct text parts[LABELS_MAX])
{
    size_t count = 0;

    while (count < LABELS_MAX && value.len > 0) {
        const char *slash = memchr(value.data, '/', value.len);
        size_t len = slash != NULL ? (size_t)(slash - value.data) : value.len;

        parts[count++] = (struct text){value.data, len};
        value =
            (struct text){value.data + len + (slash != NULL), value.len - len - (slash != NULL)};
    }
    return count;
}

/* Of the table's rows the one with this key and these labels; SIZE_MAX: none. */
static size_t find_row(struct db_rows *rows, const char *key, const struct text *values,
                       size_t count)
{
    for (size_t row = 0; rows != NULL && row < db_rows_count(rows); row++) {
        size_t have, same = 0;
        struct text *labels;

        if (!text_is(db_text(rows, row, 0), key))
            continue;
        labels = db_texts(rows, row, 1, &have);
        while (same < have && same < count && text_equal(labels[same], values[same]))
            same++;
        if (same == have && same == count)
            return row;
    }
    return SIZE_MAX;
}

static void put_start(struct buffer *out, const struct metric *metric, struct db_rows *rows,
                      struct text value)
{
    struct text parts[LABELS_MAX];
    size_t count = split(value, parts);
    int64_t found = 0;

    if (metric->source == SOURCE_TABLES) {
        size_t row = find_row(rows, metric->key, parts, count);

        found = row != SIZE_MAX ? db_int(rows, row, 2) : 0;
    } else {
        char name[COUNTER_NAME_MAX + 1];

        (void)snprintf(name, sizeof(name), "%s%s%.*s", metric->key, value.len > 0 ? " " : "",
                       (int)value.len, value.data);
        found = (int64_t)counter_read(name);
    }
    put_sample(out, metric, parts, count, found);
}

static bool is_start(const char *values, const struct text *labels, size_t count)
{
    if (values == NULL)
        return false;
    do {
        size_t len = strcspn(values, " ");
        struct text parts[LABELS_MAX];
        size_t have = split((struct text){values, len}, parts), same = 0;

        while (same < have && same < count && text_equal(parts[same], labels[same]))
            same++;
        if (same == have && same == count)
            return true;
        values += len + (values[len] == ' ');
    } while (*values != '\0');
    return false;
}

static void put_metric(struct buffer *out, const struct metric *metric, const char *from_zero,
                       struct db_rows *rows)
{
    const char *values = from_zero;

    if (metric->source == SOURCE_TABLES && rows == NULL)
        return; /* better nothing than a counter that went back */
    put_family(out, metric->name, metric->type, metric->unit, metric->help);
    while (values != NULL) {
        size_t len = strcspn(values, " ");

        put_start(out, metric, rows, (struct text){values, len});
        values = values[len] == ' ' ? values + len + 1 : NULL;
    }
    for (size_t row = 0; metric->source == SOURCE_TABLES && row < db_rows_count(rows); row++) {
        struct text *labels;
        size_t count;

        if (!text_is(db_text(rows, row, 0), metric->key))
            continue;
        labels = db_texts(rows, row, 1, &count);
        if (!is_start(from_zero, labels, count))
            put_sample(out, metric, labels, count, db_int(rows, row, 2));
    }
}

/* ---- histograms -------------------------------------------------------------------------------
 */

static void put_bucket(struct buffer *out, const char *name, struct text step, const int64_t *bound,
                       uint64_t count)
{
    buffer_printf(out, "%s_bucket{", name);
    if (step.data != NULL) {
        buffer_append_string(out, "step=\"");
        put_escaped(out, step);
        buffer_append_string(out, "\",");
    }
    buffer_append_string(out, "le=\"");
    if (bound != NULL)
        put_ms(out, *bound);
    else
        buffer_append_string(out, "+Inf");
    buffer_printf(out, "\"} %llu\n", (unsigned long long)count);
}

static void put_sum(struct buffer *out, const char *name, struct text step, uint64_t count,
                    int64_t ms)
{
    size_t labels = step.data != NULL ? 1 : 0;

    buffer_printf(out, "%s_count", name);
    put_labels(out, "step", &step, labels);
    buffer_printf(out, " %llu\n%s_sum", (unsigned long long)count, name);
    put_labels(out, "step", &step, labels);
    buffer_append_string(out, " ");
    put_ms(out, ms);
    buffer_append_string(out, "\n");
}

#define STEPS_NAME "openclaw_step_duration_seconds"

static void put_step(struct buffer *out, struct db_rows *rows, struct text step)
{
    uint64_t total = 0;
    size_t sum = find_row(rows, "step_ms", &step, 1);

    for (size_t i = 0; i <= STEP_BOUNDS; i++) {
        char index[8];
        struct text wanted[2] = {step};
        size_t at;

        (void)snprintf(index, sizeof(index), "%zu", i);
        wanted[1] = text_of(index);
        at = find_row(rows, "step_bucket", wanted, 2);
        total += at != SIZE_MAX ? (uint64_t)db_int(rows, at, 2) : 0;
        put_bucket(out, STEPS_NAME, step, i < STEP_BOUNDS ? &step_bounds[i] : NULL, total);
    }
    put_sum(out, STEPS_NAME, step, total, sum != SIZE_MAX ? db_int(rows, sum, 2) : 0);
}

static bool is_known_step(struct text step)
{
    for (size_t i = 0; i < KNOWN_STEPS; i++)
        if (text_is(step, known_steps[i]))
            return true;
    return false;
}

static void put_steps(struct buffer *out, struct db_rows *rows)
{
    if (rows == NULL)
        return;
    put_family(out, STEPS_NAME, "histogram", "seconds",
               "how long steps of workflows took, waiting included, some seconds late");
    for (size_t i = 0; i < KNOWN_STEPS; i++)
        put_step(out, rows, text_of(known_steps[i]));
    for (size_t row = 0; row < db_rows_count(rows); row++) {
        struct text *labels;
        size_t count;

        if (!text_is(db_text(rows, row, 0), "step_ms"))
            continue;
        labels = db_texts(rows, row, 1, &count);
        if (count > 0 && !is_known_step(labels[0]))
            put_step(out, rows, labels[0]);
    }
}

static void put_requests(struct buffer *out, const struct metrics *metrics)
{
    static const char name[] = "openclaw_http_request_duration_seconds";
    size_t routes = route_count();
    uint64_t total = 0;

    put_family(out, "openclaw_http_requests", "counter", "",
               "HTTP requests by route and class of status, on this host");
    for (size_t i = 0; i <= routes; i++)
        for (size_t k = 0; k < CLASSES; k++)
            buffer_printf(out,
                          "openclaw_http_requests_total{method=\"%s\",route=\"%s\",status=\"%s\"} "
                          "%llu\n",
                          i < routes ? http_method_name(route_method(&http_routes[i])) : "",
                          i < routes ? http_routes[i].path : "", classes[k],
                          (unsigned long long)*metrics->routes[i][k]);
    put_family(out, "openclaw_http_responses", "counter", "",
               "HTTP answers by status code, on this host");
    for (size_t i = 0; i < CODES; i++)
        buffer_printf(out, "openclaw_http_responses_total{code=\"%d\"} %llu\n", codes[i],
                      (unsigned long long)*metrics->codes[i]);
    buffer_printf(out, "openclaw_http_responses_total{code=\"other\"} %llu\n",
                  (unsigned long long)*metrics->other_codes);
    put_family(out, name, "histogram", "seconds",
               "how long HTTP requests took, those that wait included, on this host");
    for (size_t i = 0; i <= REQUEST_BOUNDS; i++) {
        total += *metrics->buckets[i];
        put_bucket(out, name, TEXT_NONE, i < REQUEST_BOUNDS ? &request_bounds[i] : NULL, total);
    }
    put_sum(out, name, TEXT_NONE, total, (int64_t)*metrics->took_ms);
}

static void put_gauge(struct buffer *out, const char *name, const char *label, const char *value,
                      uint64_t number)
{
    struct text text = text_of(value);

    buffer_append_string(out, name);
    put_labels(out, label, &text, value != NULL ? 1 : 0);
    buffer_printf(out, " %llu\n", (unsigned long long)number);
}

static void put_processes(struct buffer *out, bool database_up)
{
    struct worker_state sum;

    worker_state_sum(&sum);
    put_family(out, "openclaw_database_up", "gauge", "", "1: the database answered this scrape");
    put_gauge(out, "openclaw_database_up", "", NULL, database_up);
    put_family(out, "openclaw_http_workers", "gauge", "", "responder processes, on this host");
    put_gauge(out, "openclaw_http_workers", "", NULL, sum.pid);
    put_family(out, "openclaw_http_threads", "gauge", "",
               "threads of the responder that serve or are free, on this host");
    put_gauge(out, "openclaw_http_threads", "state", "busy", sum.threads_busy);
    put_gauge(out, "openclaw_http_threads", "state", "free",
              sum.threads > sum.threads_busy ? sum.threads - sum.threads_busy : 0);
    put_family(out, "openclaw_database_pool_connections", "gauge", "",
               "places in the responder's pools of database connections, on this host");
    put_gauge(out, "openclaw_database_pool_connections", "state", "busy", sum.connections_busy);
    put_gauge(out, "openclaw_database_pool_connections", "state", "free",
              sum.connections > sum.connections_busy ? sum.connections - sum.connections_busy : 0);
    put_family(out, "openclaw_database_pool_waiting", "gauge", "",
               "threads that wait for a database connection, on this host");
    put_gauge(out, "openclaw_database_pool_waiting", "", NULL, sum.waiting);
    put_family(out, "openclaw_build", "info", "", "the version of this program");
    put_gauge(out, "openclaw_build_info", "version", PACKAGE_VERSION, 1);
}

/* ---- the whole --------------------------------------------------------------------------------
 */

/* With the mutex held: what the database said lately; NULL: it does not answer. */
static struct db_rows *ask(struct metrics *metrics)
{
    struct failure failure = {.error = OK};
    struct db_call call;

    if (clock_ms() < metrics->until_ms)
        return metrics->rows;
    arena_reset(metrics->arena);
    metrics->rows = NULL;
    db_call_init(&call, metrics->arena, STATEMENT_METRICS);
    db_add_int(&call, METRICS_AGENTS_MAX);
    if (http_database_run(metrics->server, &call, &failure, &metrics->rows) != OK)
        metrics->rows = NULL;
    metrics->until_ms = clock_ms() + METRICS_CACHE_MS;
    return metrics->rows;
}

struct text metrics_text(struct metrics *metrics, struct arena *arena)
{
    struct buffer out;
    struct db_rows *rows;
    struct text text;

    buffer_init(&out, TEXT_MAX);
    pthread_mutex_lock(&metrics->mutex);
    rows = ask(metrics);
    for (size_t i = 0; i < METRICS_COUNT; i++)
        put_metric(&out, &metrics_table[i], metrics->values[i], rows);
    put_steps(&out, rows);
    pthread_mutex_unlock(&metrics->mutex);
    put_requests(&out, metrics);
    put_processes(&out, rows != NULL);
    buffer_append_string(&out, "# EOF\n");
    text = arena_text(arena, buffer_text(&out));
    buffer_release(&out);
    return text;
}
