#include "control/allow.h"

#include "base/text.h"
#include "base/vec.h"
#include "control/keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef VEC(AllowedKey) Keys;

static const AllowedKey *find(const AllowedKey *keys, int n, const char *public_key,
                              const char *name)
{
    for (int i = 0; i < n; i++)
        if ((public_key && !strcmp(keys[i].public_key, public_key)) ||
            (name && !strcmp(keys[i].name, name)))
            return &keys[i];
    return NULL;
}

const AllowedKey *allow_key(const AllowList *list, const char *public_key)
{
    return find(list->items, list->n, public_key, NULL);
}

const AllowedKey *allow_name(const AllowList *list, const char *name)
{
    return find(list->items, list->n, NULL, name);
}

// The next word of a line, and where it begins; NULL: there is none, or a comment begins.
static const char *next_word(Arena *a, const char *line, size_t *at, int *col)
{
    size_t begin = *at + strspn(line + *at, " \t\r");
    size_t n = strcspn(line + begin, " \t\r");
    *at = begin + n;
    *col = (int)begin + 1;
    return n && line[begin] != '#' ? arena_strndup(a, line + begin, n) : NULL;
}

static bool check_new(const Keys *keys, const AllowedKey *k, Loc name_loc)
{
    const AllowedKey *same_key = find(keys->items, keys->n, k->public_key, NULL);
    const AllowedKey *same_name = find(keys->items, keys->n, NULL, k->name);
    if (same_key)
        error_at(k->loc, "this key is listed twice: each worker has its own");
    else if (same_name)
        error_at(name_loc, "%s is listed twice: each worker has a name of its own", k->name);
    if (same_key || same_name)
        note_at((same_key ? same_key : same_name)->loc, "the first time");
    return !same_key && !same_name;
}

static bool check_key(const char *key, Loc loc)
{
    if (curve_key_good(key, strlen(key)))
        return true;
    error_at(loc, "this is no key: 40 characters of Z85, as behind `public` in a key file");
    return false;
}

static bool read_line(Arena *a, Keys *keys, const char *line, AllowedKey k)
{
    size_t at = 0;
    Loc name_loc = k.loc, more = k.loc;
    k.public_key = next_word(a, line, &at, &k.loc.col);
    if (!k.public_key)
        return true;
    k.name = next_word(a, line, &at, &name_loc.col);
    k.offset += (size_t)k.loc.col - 1;
    if (!check_key(k.public_key, k.loc))
        return false;
    if (!k.name)
        error_at(name_loc, "the key has no name behind it: KEY NAME");
    else if (!key_name_good(k.name))
        error_at(name_loc, "`%.80s` is no name: up to %d letters, digits and ._-", k.name,
                 KEY_NAME);
    else if (next_word(a, line, &at, &more.col))
        error_at(more, "nothing follows the name but a comment");
    else if (check_new(keys, &k, name_loc)) {
        vec_push(a, keys, k);
        return true;
    }
    return false;
}

AllowList *allow_parse(Arena *a, const char *file, const char *text)
{
    Keys keys = {0};
    bool good = true;
    int number = 1;
    for (const char *at = text; *at; number++) {
        size_t n = strcspn(at, "\n");
        AllowedKey k = {.loc = {file, number, 1}, .offset = (size_t)(at - text)};
        good &= read_line(a, &keys, arena_strndup(a, at, n), k);
        at += n + (at[n] != 0);
    }
    AllowList *list = arena_new(a, AllowList);
    *list = (AllowList){keys.items, keys.n};
    return good ? list : NULL;
}

AllowList *allow_read(Arena *a, const char *file)
{
    char *text = file_read(file, NULL);
    if (!text) {
        error_at((Loc){file, 0, 0}, "cannot read the allow list: %s", strerror(errno));
        return NULL;
    }
    AllowList *list = allow_parse(a, file, text);
    free(text);
    return list;
}
