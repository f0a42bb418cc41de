DROP TABLE followers;
DROP TABLE posts;
