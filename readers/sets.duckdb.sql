-- Views of the sets in a folder, for DuckDB. Give the folder first:
--
--   SET VARIABLE sets = 'sets';
--   .read readers/sets.duckdb.sql
--
-- `members`: each request id that saw a video in an epoch, and whether it played it. What any row
-- calls denied is left out.
-- `counts`: the sizes of both sets, as in the view `trends` of the store.

CREATE OR REPLACE VIEW members AS
SELECT epoch, request_id, video_id, bool_or(played) AS played
FROM read_parquet(getvariable('sets') || '/epoch=*/*.parquet', hive_partitioning = true)
GROUP BY epoch, request_id, video_id
HAVING bool_or(shown) AND NOT bool_or(denied);

CREATE OR REPLACE VIEW counts AS
SELECT video_id, epoch, count(*) FILTER (played) AS plays, count(*) AS impressions
FROM members
GROUP BY video_id, epoch;
