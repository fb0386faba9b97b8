/* SPDX-License-Identifier: MIT
 *
 * A load generator for WebSockets: one thread, one epoll, any number of connections, each with one
 * request under way (closed loop). It speaks just enough of RFC 6455 for text frames on loopback,
 * and finds the few words it needs in the answers without parsing them, so that it costs little.
 *
 *   wsload MODE --url ws://HOST:PORT/ --count N --seconds S [--tokens FILE] [--dialect bare]
 *
 *   send   N connections send to one agent that nobody reads; latency is send to answer
 *   pairs  N senders, N recipients; latency is send to receipt; the sender waits until it is told
 *          of the acknowledgement before it sends again
 *   fanin  N senders, one recipient; as pairs
 *   open   opens N connections one after the other, each to hello-ok (official handshake)
 *   idle   opens N connections likewise, prints "ready", holds them for S seconds
 *
 * FILE has one line for each connection: a bearer token and the agent's name; senders first, then
 * recipients. With --start asked it prints "ready" when all are open and begins when it is sent a
 * line. Tokens never stand in argv. Prints one JSON object.
 */
#define _GNU_SOURCE /* memmem: answers are searched, not parsed */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_SIZE   65536
#define SAMPLES_MAX   4000000
#define EVENTS        256
#define CONTENT_BYTES "a message of ordinary length, as agents exchange them all day long"

enum mode { MODE_SEND, MODE_PAIRS, MODE_FANIN, MODE_OPEN, MODE_IDLE };
enum state { CONNECTING, UPGRADING, SUBSCRIBING, READY, WAITING, CLOSED };

struct connection {
    int fd;
    enum state state;
    bool recipient;
    char token[256], agent[80], peer[80]; /* peer: whom it sends to */
    int64_t sent_at;
    uint64_t sequence;
    char in[BUFFER_SIZE];
    size_t in_len;
    char out[BUFFER_SIZE];
    size_t out_len;
};

static enum mode mode;
static bool bare, wait;
static struct sockaddr_in address;
static struct connection *connections;
static int count, total, epoll_fd;
static int64_t began; /* of the sending */
static uint64_t answered, refused, received, serial;
static uint32_t *samples; /* microseconds */
static size_t sample_count;
static bool stopping;
static char run_id[24];

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what)
{
    fprintf(stderr, "wsload: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void sample(int64_t us)
{
    if (sample_count < SAMPLES_MAX)
        samples[sample_count++] = (uint32_t)(us < 0 ? 0 : us);
}

/* ---- bytes ------------------------------------------------------------------------------------
 */

static void flush_out(struct connection *c)
{
    while (c->out_len > 0) {
        ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            c->state = CLOSED;
            return;
        }
        memmove(c->out, c->out + n, c->out_len - (size_t)n);
        c->out_len -= (size_t)n;
    }
    struct epoll_event event = {.events = EPOLLIN | (c->out_len ? EPOLLOUT : 0u), .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

/* A masked text frame; the mask is zero, which RFC 6455 allows a client to draw. */
static void send_text(struct connection *c, const char *text)
{
    size_t length = strlen(text);
    unsigned char *at = (unsigned char *)c->out + c->out_len;

    if (c->out_len + length + 14 > sizeof c->out)
        return;
    *at++ = 0x81;
    if (length < 126) {
        *at++ = (unsigned char)(0x80 | length);
    } else {
        *at++ = 0x80 | 126;
        *at++ = (unsigned char)(length >> 8);
        *at++ = (unsigned char)length;
    }
    memset(at, 0, 4);
    memcpy(at + 4, text, length);
    c->out_len = (size_t)((char *)at + 4 + length - c->out);
    flush_out(c);
}

static void start_connection(struct connection *c)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    int one = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        die("connect");
    c->state = CONNECTING;
    c->in_len = c->out_len = 0;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

static void upgrade(struct connection *c)
{
    c->out_len = (size_t)snprintf(
        c->out, sizeof c->out,
        "GET / HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
        inet_ntoa(address.sin_addr), ntohs(address.sin_port),
        c->token[0] && mode < MODE_OPEN ? "Authorization: Bearer " : "",
        c->token[0] && mode < MODE_OPEN ? c->token : "",
        c->token[0] && mode < MODE_OPEN ? "\r\n" : "");
    c->state = UPGRADING;
    flush_out(c);
}

/* ---- what is said -------------------------------------------------------------------------------
 */

static void send_next(struct connection *c)
{
    char frame[1024];

    if (stopping)
        return;
    c->sequence = ++serial;
    c->sent_at = now_us();
    if (bare)
        snprintf(frame, sizeof frame,
                 "{\"id\":\"%s-%llu\",\"from\":\"%s\",\"to\":\"%s\",\"content\":\"" CONTENT_BYTES
                 "\"}",
                 run_id, (unsigned long long)c->sequence, c->agent, c->peer);
    else
        snprintf(frame, sizeof frame,
                 "{\"type\":\"req\",\"id\":\"%llu\",\"method\":\"agent.send\",\"params\":{"
                 "\"sessionKey\":\"%s\",\"idempotencyKey\":\"%s-%llu\",%s"
                 "\"message\":\"%lld " CONTENT_BYTES "\"}}",
                 (unsigned long long)c->sequence, c->peer, run_id, (unsigned long long)c->sequence,
                 mode == MODE_SEND ? "\"waitFor\":\"accepted\","
                                   : "\"waitFor\":\"reply\",\"timeout\":30,",
                 (long long)c->sent_at);
    c->state = WAITING;
    send_text(c, frame);
}

static void subscribe(struct connection *c)
{
    char frame[256];

    snprintf(frame, sizeof frame,
             "{\"type\":\"req\",\"id\":\"s\",\"method\":\"inbox.subscribe\",\"params\":{"
             "\"inbox\":\"%s\",\"maxInFlight\":%d}}",
             c->agent, mode == MODE_FANIN ? 100 : 10);
    c->state = SUBSCRIBING;
    send_text(c, frame);
}

static void say_connect(struct connection *c)
{
    char frame[768];

    snprintf(
        frame, sizeof frame,
        "{\"type\":\"req\",\"id\":\"c\",\"method\":\"connect\",\"params\":{\"minProtocol\":3,"
        "\"maxProtocol\":4,\"client\":{\"id\":\"gateway-client\",\"version\":\"1\",\"platform\":"
        "\"linux\",\"mode\":\"backend\"},\"auth\":{\"token\":\"%s\"}}}",
        c->token);
    send_text(c, frame);
}

static bool has(const char *text, size_t length, const char *word)
{
    return memmem(text, length, word, strlen(word)) != NULL;
}

/* The recipient's answer to a delivery: an acknowledgement with a word. */
static void acknowledge(struct connection *c, const char *text, size_t length)
{
    static const char id_word[] = "\"deliveryId\":\"", content_word[] = "\"content\":\"";
    const char *id = memmem(text, length, id_word, sizeof id_word - 1);
    const char *content = memmem(text, length, content_word, sizeof content_word - 1);
    char frame[512];
    int64_t sent_at;

    if (!id)
        return;
    id += sizeof id_word - 1;
    sent_at = content ? strtoll(content + sizeof content_word - 1, NULL, 10) : 0;
    if (sent_at >= began) { /* else a run before this one left it */
        received++;
        sample(now_us() - sent_at);
    }
    snprintf(frame, sizeof frame,
             "{\"type\":\"req\",\"id\":\"a\",\"method\":\"inbox.ack\",\"params\":{\"deliveryIds\":["
             "\"%.*s\"],"
             "\"result\":\"ok\"}}",
             (int)strcspn(id, "\""), id);
    send_text(c, frame);
}

static void got_text(struct connection *c, const char *text, size_t length)
{
    if (mode >= MODE_OPEN) {
        if (has(text, length, "hello-ok")) /* it names all events, connect.challenge too */
            c->state = READY;
        else if (has(text, length, "connect.challenge"))
            say_connect(c);
        return;
    }
    if (c->recipient) {
        if (has(text, length, "inbox.message\""))
            acknowledge(c, text, length);
        else if (c->state == UPGRADING && has(text, length, "connect.challenge"))
            subscribe(c);
        else if (c->state == SUBSCRIBING && has(text, length, "\"epoch\""))
            c->state = READY;
        return;
    }
    if (c->state == UPGRADING) {
        c->state = READY;
        return;
    }
    if (c->state != WAITING || has(text, length, "\"type\":\"event\"") ||
        has(text, length, "\"status\":\"accepted\""))
        return;
    if (has(text, length, "\"ok\":false") || has(text, length, "\"type\":\"error\"")) {
        if (refused++ == 0)
            fprintf(stderr, "wsload: refused: %.*s\n", (int)(length > 300 ? 300 : length), text);
    } else {
        answered++;
        if (mode == MODE_SEND)
            sample(now_us() - c->sent_at);
    }
    send_next(c);
}

/* ---- frames
 * ---------------------------------------------------------------------------------------- */

static void parse_frames(struct connection *c)
{
    size_t at = 0;

    while (c->in_len - at >= 2) {
        const unsigned char *f = (const unsigned char *)c->in + at;
        size_t length = f[1] & 127, header = 2;

        if (length == 126) {
            if (c->in_len - at < 4)
                break;
            length = (size_t)f[2] << 8 | f[3];
            header = 4;
        } else if (length == 127) {
            die("a frame over 64 KiB");
        }
        if (c->in_len - at < header + length)
            break;
        if ((f[0] & 15) == 8) {
            fprintf(stderr, "wsload: closed: %.*s\n", (int)(length > 2 ? length - 2 : 0),
                    c->in + at + header + 2);
            c->state = CLOSED;
            return;
        }
        if ((f[0] & 15) == 1)
            got_text(c, c->in + at + header, length);
        at += header + length;
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
}

static void readable(struct connection *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len - 1, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        fprintf(stderr, "wsload: cut: %s, in state %d\n", n < 0 ? strerror(errno) : "end",
                c->state);
        c->state = CLOSED;
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
        return;
    }
    c->in_len += (size_t)n;
    c->in[c->in_len] = '\0';
    if (c->state == UPGRADING && c->in_len > 4 && memcmp(c->in, "HTTP", 4) == 0) {
        char *end = strstr(c->in, "\r\n\r\n");

        if (!end)
            return;
        if (memcmp(c->in + 9, "101", 3) != 0) {
            fprintf(stderr, "wsload: %.*s\n", (int)strcspn(c->in, "\r"), c->in);
            c->state = CLOSED;
            return;
        }
        c->in_len -= (size_t)(end + 4 - c->in);
        memmove(c->in, end + 4, c->in_len);
        /* a peer that says nothing first is ready at once */
        if (bare)
            c->state = READY;
    }
    parse_frames(c);
}

static void turn(int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(epoll_fd, events, EVENTS, timeout_ms);

    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;

        if (c->state == CONNECTING && (events[i].events & EPOLLOUT))
            upgrade(c);
        else if (events[i].events & EPOLLOUT)
            flush_out(c);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            readable(c);
    }
}

/* ---- the run
 * ------------------------------------------------------------------------------------------ */

static int in_state(enum state state)
{
    int n = 0;

    for (int i = 0; i < total; i++)
        n += connections[i].state == state;
    return n;
}

static void open_all(void)
{
    int64_t limit = now_us() + 120 * 1000000LL;
    int started = 0;

    while (in_state(READY) < total) {
        int ready = in_state(READY) + in_state(CLOSED);

        for (; started < total && started - ready < (mode == MODE_OPEN ? 8 : 24); started++)
            start_connection(&connections[started]);
        turn(10);
        if (in_state(CLOSED) || now_us() > limit) {
            fprintf(stderr, "wsload: only %d of %d connections are ready\n", in_state(READY),
                    total);
            exit(1);
        }
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static double percentile(double p)
{
    return sample_count ? samples[(size_t)((double)(sample_count - 1) * p)] / 1000.0 : 0;
}

static void read_tokens(const char *path)
{
    FILE *file = fopen(path, "r");

    if (!file)
        die(path);
    for (int i = 0; i < total; i++)
        if (fscanf(file, "%255s %79s", connections[i].token, connections[i].agent) != 2)
            die("too few lines in the token file");
    fclose(file);
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"send", "pairs", "fanin", "open", "idle"};
    const char *tokens = NULL, *to = NULL;
    char host[64] = "127.0.0.1";
    int port = 0, seconds = 5;
    struct rusage usage;
    int64_t ended;

    count = 1;
    mode = MODE_IDLE + 1;
    for (size_t i = 0; argc > 1 && i < 5; i++)
        if (strcmp(argv[1], modes[i]) == 0)
            mode = (enum mode)i;
    for (int i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--url") == 0 &&
            sscanf(argv[i + 1], "ws://%63[^:]:%d", host, &port) == 2)
            continue;
        if (strcmp(argv[i], "--count") == 0)
            count = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--tokens") == 0)
            tokens = argv[i + 1];
        else if (strcmp(argv[i], "--to") == 0)
            to = argv[i + 1];
        else if (strcmp(argv[i], "--dialect") == 0)
            bare = strcmp(argv[i + 1], "bare") == 0;
        else if (strcmp(argv[i], "--start") == 0)
            wait = strcmp(argv[i + 1], "asked") == 0;
    }
    if (mode > MODE_IDLE || !port || count < 1) {
        fprintf(stderr, "usage: wsload send|pairs|fanin|open|idle --url ws://HOST:PORT/ --count N\n"
                        "              --seconds S --tokens FILE [--to AGENT] [--dialect bare]\n"
                        "              [--start asked]\n");
        return 64;
    }

    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        die("the host must be an IPv4 address");
    total = mode == MODE_PAIRS ? 2 * count : mode == MODE_FANIN ? count + 1 : count;
    connections = calloc((size_t)total, sizeof *connections);
    samples = malloc(SAMPLES_MAX * sizeof *samples);
    epoll_fd = epoll_create1(0);
    snprintf(run_id, sizeof run_id, "b%llx", (unsigned long long)now_us());
    if (tokens)
        read_tokens(tokens);
    for (int i = 0; i < total; i++) {
        struct connection *c = &connections[i];

        c->recipient = i >= count;
        if (!tokens)
            snprintf(c->agent, sizeof c->agent, "sender%d", i);
        snprintf(c->peer, sizeof c->peer, "%s",
                 mode == MODE_PAIRS   ? connections[(count + i) % total].agent
                 : mode == MODE_FANIN ? connections[count].agent
                                      : (to ? to : "sink"));
    }

    began = now_us();
    open_all();
    ended = now_us();
    if (mode == MODE_OPEN) {
        printf("{\"mode\":\"open\",\"connections\":%d,\"seconds\":%.3f,\"per_second\":%.1f}\n",
               total, (double)(ended - began) / 1e6, total * 1e6 / (double)(ended - began));
        return 0;
    }
    if (mode == MODE_IDLE) {
        printf("ready\n");
        fflush(stdout);
        for (ended = now_us() + seconds * 1000000LL; now_us() < ended;)
            turn(100);
        return in_state(CLOSED) ? 1 : 0;
    }

    if (wait) { /* what the opening costs is not what the sending costs */
        printf("ready\n");
        fflush(stdout);
        if (getchar() == EOF)
            return 1;
    }
    began = now_us();
    for (int i = 0; i < count; i++)
        send_next(&connections[i]);
    for (ended = began + seconds * 1000000LL; now_us() < ended && !in_state(CLOSED);)
        turn(20);
    ended = now_us();
    stopping = true;
    uint64_t done = mode == MODE_SEND ? answered : received;
    for (int64_t grace = now_us() + 2000000; now_us() < grace && in_state(WAITING);)
        turn(20);

    getrusage(RUSAGE_SELF, &usage);
    qsort(samples, sample_count, sizeof *samples, compare);
    printf("{\"mode\":\"%s\",\"connections\":%d,\"seconds\":%.3f,\"done\":%llu,\"answered\":%llu,"
           "\"refused\":%llu,\"closed\":%d,\"per_second\":%.1f,\"p50_ms\":%.3f,\"p90_ms\":%.3f,"
           "\"p99_ms\":%.3f,\"max_ms\":%.3f,\"cpu_share\":%.3f}\n",
           modes[mode], total, (double)(ended - began) / 1e6, (unsigned long long)done,
           (unsigned long long)answered, (unsigned long long)refused, in_state(CLOSED),
           (double)done * 1e6 / (double)(ended - began), percentile(0.5), percentile(0.9),
           percentile(0.99), percentile(1),
           ((double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
            (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6) /
               ((double)(ended - began) / 1e6));
    return 0;
}
