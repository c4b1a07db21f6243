#include "control/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void wire_init(Wire *w, int in_fd, int out_fd, bool greeted)
{
    *w = (Wire){.in_fd = in_fd, .out_fd = out_fd, .greeted = greeted};
    fcntl(in_fd, F_SETFL, fcntl(in_fd, F_GETFL) | O_NONBLOCK);
    fcntl(out_fd, F_SETFL, fcntl(out_fd, F_GETFL) | O_NONBLOCK);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void wire_release(Wire *w)
{
    close_fd(&w->in_fd);
    close_fd(&w->out_fd);
    text_release(&w->in);
    text_release(&w->out);
}

void wire_put(Wire *w, WireKind kind, int rank, const void *data, size_t bytes)
{
    WireHeader h = {.version = WIRE_VERSION,
                    .kind = (uint16_t)kind,
                    .bytes = (uint32_t)bytes,
                    .rank = (uint32_t)rank};
    text_append(&w->out, (const char *)&h, sizeof h);
    if (bytes)
        text_append(&w->out, data, bytes);
}

static void forget(Text *t, size_t n)
{
    memmove(t->data, t->data + n, t->length - n);
    t->length -= n;
}

bool wire_flush(Wire *w)
{
    size_t done = 0;
    while (w->out_fd >= 0 && done < w->out.length) {
        ssize_t n = write(w->out_fd, w->out.data + done, w->out.length - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            close_fd(&w->out_fd);
        if (n < 0)
            break;
        done += (size_t)n;
    }
    if (done)
        forget(&w->out, done);
    return w->out_fd >= 0;
}

static void find_greeting(Wire *w)
{
    size_t n = strlen(WIRE_GREETING);
    const char *at =
        w->in.length >= n ? memmem(w->in.data, w->in.length, WIRE_GREETING, n) : NULL;
    if (!at)
        return;
    w->greeted = true;
    forget(&w->in, (size_t)(at - w->in.data) + n);
}

// One whole message, if there is one; false: it is none of ours.
static bool split(Wire *w, void (*take)(void *, const WireHeader *, const void *), void *user)
{
    size_t at = 0;
    WireHeader h;
    for (; w->in.length - at >= sizeof h; at += sizeof h + h.bytes) {
        memcpy(&h, w->in.data + at, sizeof h);
        if (h.version != WIRE_VERSION || h.bytes > WIRE_MOST)
            return false;
        if (w->in.length - at < sizeof h + h.bytes)
            break;
        take(user, &h, w->in.data + at + sizeof h);
    }
    if (at)
        forget(&w->in, at);
    return true;
}

bool wire_read(Wire *w, void (*take)(void *user, const WireHeader *h, const void *data),
               void *user)
{
    char buffer[1 << 16];
    bool good = true;
    while (good && w->in_fd >= 0) {
        ssize_t n = read(w->in_fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            close_fd(&w->in_fd);
            break;
        }
        text_append(&w->in, buffer, (size_t)n);
        if (!w->greeted)
            find_greeting(w);
        if (w->greeted)
            good = split(w, take, user);
        else
            good = w->in.length < WIRE_MOST;
    }
    return good && w->in_fd >= 0;
}
