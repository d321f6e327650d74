"""Search by full text in what has landed."""

from __future__ import annotations

from typing import Any

from hive.jars.index import catch_up
from hive.jars.listing import find_jar
from hive.ledger.db import Database


def search(db: Database, jar: str, text: str, *, top_k: int = 10) -> list[dict[str, Any]]:
    """The best matching records of a jar, by full text. `text` is what people type: words, "phrases", -not.

    What has landed and is not indexed yet is indexed first. Raises LookupError where there is no such jar.
    """
    with db.transaction() as tx:
        find_jar(tx, jar)
    catch_up(db, jar)
    with db.transaction() as tx:
        found = tx.psycopg.execute(
            "WITH q AS (SELECT websearch_to_tsquery('english', %(text)s) AS query), best AS ("
            " SELECT c.part, c.jar, c.bee, c.stream, c.key_hash, max(ts_rank_cd(c.words, q.query)) AS rank,"
            "        (array_agg(c.text ORDER BY ts_rank_cd(c.words, q.query) DESC))[1] AS text"
            "   FROM q, hive.jar j JOIN hive.chunk c ON c.part = j.part AND c.jar = j.id"
            "  WHERE j.name = %(jar)s AND j.visible AND c.words @@ q.query GROUP BY 1, 2, 3, 4, 5"
            "  ORDER BY rank DESC LIMIT %(top_k)s)"
            " SELECT b.name, s.name, h.record_key, best.rank,"
            "        ts_headline('english', left(best.text, 100000), q.query, 'MaxFragments=1,MaxWords=20,MinWords=5')"
            "   FROM q, best JOIN hive.honey h USING (part, jar, bee, stream, key_hash)"
            "   JOIN hive.bee b ON b.id = best.bee JOIN hive.stream s ON s.id = best.stream"
            "  WHERE h.deleted_at IS NULL ORDER BY best.rank DESC",
            {"jar": jar, "text": text, "top_k": top_k},
        ).fetchall()
    return [{"bee": b, "stream": s, "key": k, "rank": float(r), "text": t} for b, s, k, r, t in found]
