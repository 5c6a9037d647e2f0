-- How far those are who follow the log and act on it. The notifier begins where the log ends now:
-- nobody wants to hear of what happened before there was one.
CREATE TABLE followers (
    follower text   PRIMARY KEY,
    position bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO followers (follower, position) SELECT 'notifier', position FROM log_head;
GRANT SELECT, INSERT, UPDATE ON followers TO pandar_app;
