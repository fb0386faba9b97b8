/* SPDX-License-Identifier: MIT */
#include "base/env_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/text.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_name(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';

        if (!letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return len > 0;
}

/* Takes the quotes off, in place; returns what is wrong, or NULL. */
static const char *unquote(char *value)
{
    char quote = *value, *out = value, *in = value;
    size_t plain;

    if (quote != '"' && quote != '\'') {
        plain = strcspn(value, " \t\"'\\");
        return value[plain] == '\0' ? NULL
                                    : "a value with white space, quotes or backslashes must stand "
                                      "in quotes";
    }
    for (in++; *in != quote; in++) {
        if (*in == '\0')
            return "the closing quote is missing";
        if (quote == '"' && (*in == '$' || *in == '`'))
            return "within double quotes write \\$ and \\`; nothing is expanded here";
        if (quote == '"' && *in == '\\') {
            in++;
            if (*in == '\0' || strchr("\"\\$`", *in) == NULL)
                return "within double quotes only \\\" \\\\ \\$ and \\` are escapes";
        }
        *out++ = *in;
    }
    if (in[1] != '\0')
        return "something stands behind the closing quote (a comment has a line of its own)";
    *out = '\0';
    return NULL;
}

static void read_line(char *line, unsigned number, env_file_line *each, void *context)
{
    size_t len = strlen(line);
    const char *fault;
    char *value;

    while (len > 0 && (is_space(line[len - 1]) || line[len - 1] == '\r'))
        line[--len] = '\0';
    while (is_space(*line))
        line++;
    if (*line == '\0' || *line == '#')
        return;
    if (strncmp(line, "export", 6) == 0 && is_space(line[6]))
        line += 7 + strspn(line + 7, " \t");
    value = strchr(line, '=');
    if (value == NULL || !is_name(line, (size_t)(value - line))) {
        each(context, number, NULL, NULL, "a line is NAME=value, without white space around the =");
        return;
    }
    *value++ = '\0';
    fault = unquote(value);
    if (fault == NULL && !utf8_valid(text_of(value)))
        fault = "the value is not UTF-8";
    if (fault != NULL)
        each(context, number, NULL, NULL, fault);
    else
        each(context, number, line, value, NULL);
}

/* The next line without its newline; false at the end. *ret_len counts what does not fit too, and
 * *ret_whole is false where a NUL would hide what stands behind it. */
static bool next_line(FILE *file, char *line, size_t *ret_len, bool *ret_whole)
{
    size_t len = 0;
    int c = getc(file);

    if (c == EOF)
        return false;
    *ret_whole = true;
    for (; c != EOF && c != '\n'; c = getc(file), len++) {
        if (c == '\0')
            *ret_whole = false;
        if (len < ENV_FILE_LINE_MAX)
            line[len] = (char)c;
    }
    line[len < ENV_FILE_LINE_MAX ? len : ENV_FILE_LINE_MAX] = '\0';
    *ret_len = len;
    return true;
}

enum error env_file_read(struct arena *arena, const char *path, env_file_line *each, void *context,
                         struct failure *failure)
{
    FILE *file = fopen(path, "r");
    char line[ENV_FILE_LINE_MAX + 1];
    enum error error = OK;
    unsigned number = 0;
    size_t len;
    bool whole;

    if (file == NULL)
        return failure_set(failure, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot read %s: %s",
                           path, strerror(errno));
    while (next_line(file, line, &len, &whole)) {
        number++;
        if (len > ENV_FILE_LINE_MAX)
            each(context, number, NULL, NULL, "the line is longer than 8192 bytes");
        else if (!whole)
            each(context, number, NULL, NULL, "the line has a NUL byte in it");
        else
            read_line(arena_string(arena, line), number, each, context);
    }
    if (ferror(file))
        error = failure_set(failure, ERR_IO, "cannot read %s: %s", path, strerror(errno));
    (void)fclose(file);
    return error;
}
