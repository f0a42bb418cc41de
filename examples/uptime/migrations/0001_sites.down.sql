DROP TABLE checks;
DROP TABLE sites;
