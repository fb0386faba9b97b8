/* SPDX-License-Identifier: MIT
 *
 * The least that a WebSocket's process can be: it says the challenge, reads a line, says hello-ok, and
 * waits for its end. With WITH_LIBPQ it connects (PG* variables) and asks one thing before hello-ok.
 */
#include <stdio.h>
#ifdef WITH_LIBPQ
#include <libpq-fe.h>
#endif

int main(void)
{
    char line[4096];

    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("{\"type\":\"event\",\"event\":\"connect.challenge\"}");
    if (fgets(line, sizeof line, stdin) == NULL)
        return 1;
#ifdef WITH_LIBPQ
    PGconn *connection = PQconnectdb("");
    PGresult *result = PQexec(connection, "select 1");

    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fputs(PQerrorMessage(connection), stderr);
        return 1;
    }
    PQclear(result);
#endif
    puts("{\"type\":\"res\",\"ok\":true,\"payload\":{\"type\":\"hello-ok\"}}");
    while (fgets(line, sizeof line, stdin) != NULL)
        ;
#ifdef WITH_LIBPQ
    PQfinish(connection);
#endif
    return 0;
}
