-- What people like, of the last week; refreshed by the cron job of the same name.
CREATE MATERIALIZED VIEW trending AS
SELECT id, likes AS score
FROM posts
WHERE likes > 0 AND created_at > now() - interval '7 days'
ORDER BY likes DESC, id DESC
LIMIT 10;

-- Without one it can't be refreshed while others read it.
CREATE UNIQUE INDEX trending_id ON trending (id);
