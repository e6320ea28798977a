BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE artifact (
	id INTEGER NOT NULL, 
	uid VARCHAR(20) NOT NULL, 
	version VARCHAR(30), 
	is_latest BOOLEAN NOT NULL, 
	storage_id INTEGER NOT NULL, 
	"key" TEXT, 
	key_is_virtual BOOLEAN NOT NULL, 
	object_key TEXT, 
	suffix VARCHAR(32) NOT NULL, 
	accessor VARCHAR(32), 
	size BIGINT NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	hash_type VARCHAR(16) NOT NULL, 
	verified_by VARCHAR(16) NOT NULL, 
	n_objects BIGINT, 
	n_observations BIGINT, 
	description TEXT, 
	visibility SMALLINT NOT NULL, 
	run_id INTEGER, 
	created_by_id INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_artifact PRIMARY KEY (id), 
	CONSTRAINT uq_artifact_uid UNIQUE (uid), 
	CONSTRAINT fk_artifact_storage_id_storage FOREIGN KEY(storage_id) REFERENCES storage (id), 
	CONSTRAINT fk_artifact_run_id_run FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT fk_artifact_created_by_id_user FOREIGN KEY(created_by_id) REFERENCES user (id)
);
INSERT INTO "artifact" VALUES(1,'aaaaaaaaaaaaaaaa0000','1',0,1,'raw/Zählung.csv',1,'.inhaul/a/aaaaaaaaaaaaaaaa0000.csv','.csv','DataFrame',13,'rL0Y20zC-Fzt72VPzMSk2A','md5','written',NULL,NULL,NULL,0,1,1,'2026-11-23 12:00:00.123456','2026-11-23 12:00:00.123456');
INSERT INTO "artifact" VALUES(2,'aaaaaaaaaaaaaaaa0001','2',1,1,'raw/Zählung.csv',1,'.inhaul/a/aaaaaaaaaaaaaaaa0001.csv','.csv','DataFrame',13,'rL0Y20zC-Fzt72VPzMSk2A','md5','written',NULL,3,'counts, corrected',0,1,1,'2026-11-23 12:00:00.123456','2026-11-23 12:00:00.123456');
INSERT INTO "artifact" VALUES(3,'bbbbbbbbbbbbbbbb0000',NULL,1,1,'trashed.csv',1,'.inhaul/b/bbbbbbbbbbbbbbbb0000.csv','.csv','DataFrame',13,'rL0Y20zC-Fzt72VPzMSk2A','md5','written',NULL,NULL,NULL,-1,1,1,'2026-11-23 12:00:00.123456','2026-11-23 12:00:00.123456');
CREATE TABLE artifact_input_of (
	artifact_id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	CONSTRAINT pk_artifact_input_of PRIMARY KEY (artifact_id, run_id), 
	CONSTRAINT fk_artifact_input_of_artifact_id_artifact FOREIGN KEY(artifact_id) REFERENCES artifact (id) ON DELETE CASCADE, 
	CONSTRAINT fk_artifact_input_of_run_id_run FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE
);
INSERT INTO "artifact_input_of" VALUES(1,1);
CREATE TABLE artifact_previous_run (
	artifact_id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	CONSTRAINT pk_artifact_previous_run PRIMARY KEY (artifact_id, run_id), 
	CONSTRAINT fk_artifact_previous_run_artifact_id_artifact FOREIGN KEY(artifact_id) REFERENCES artifact (id) ON DELETE CASCADE, 
	CONSTRAINT fk_artifact_previous_run_run_id_run FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE
);
INSERT INTO "artifact_previous_run" VALUES(2,1);
CREATE TABLE run (
	id INTEGER NOT NULL, 
	uid VARCHAR(20) NOT NULL, 
	transform_id INTEGER NOT NULL, 
	params JSON, 
	started_at DATETIME, 
	finished_at DATETIME, 
	created_by_id INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_run PRIMARY KEY (id), 
	CONSTRAINT uq_run_uid UNIQUE (uid), 
	CONSTRAINT fk_run_transform_id_transform FOREIGN KEY(transform_id) REFERENCES transform (id), 
	CONSTRAINT fk_run_created_by_id_user FOREIGN KEY(created_by_id) REFERENCES user (id)
);
INSERT INTO "run" VALUES(1,'rrrrrrrrrrrrrrrr0000',1,'{"genome": "GRCh38", "threads": 2}','2026-11-23 12:00:00.123456',NULL,1,'2026-11-23 12:00:00.123456','2026-11-23 12:00:00.123456');
CREATE TABLE storage (
	id INTEGER NOT NULL, 
	uid VARCHAR(20) NOT NULL, 
	root TEXT NOT NULL, 
	type VARCHAR(8) NOT NULL, 
	region VARCHAR(32), 
	created_by_id INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_storage PRIMARY KEY (id), 
	CONSTRAINT uq_storage_uid UNIQUE (uid), 
	CONSTRAINT uq_storage_root UNIQUE (root), 
	CONSTRAINT fk_storage_created_by_id_user FOREIGN KEY(created_by_id) REFERENCES user (id)
);
INSERT INTO "storage" VALUES(1,'ssssssssssssssss0000','/data/lab','local',NULL,1,'2026-11-23 12:00:00.123456','2026-11-23 12:00:00.123456');
CREATE TABLE transform (
	id INTEGER NOT NULL, 
	uid VARCHAR(20) NOT NULL, 
	name TEXT NOT NULL, 
	type VARCHAR(16) NOT NULL, 
	created_by_id INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_transform PRIMARY KEY (id), 
	CONSTRAINT uq_transform_uid UNIQUE (uid), 
	CONSTRAINT fk_transform_created_by_id_user FOREIGN KEY(created_by_id) REFERENCES user (id)
);
INSERT INTO "transform" VALUES(1,'tttttttttttttttt0000','align.py','script',1,'2026-11-23 12:00:00.123456','2026-11-23 12:00:00.123456');
CREATE TABLE user (
	id INTEGER NOT NULL, 
	uid VARCHAR(20) NOT NULL, 
	handle TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_user PRIMARY KEY (id), 
	CONSTRAINT uq_user_uid UNIQUE (uid), 
	CONSTRAINT uq_user_handle UNIQUE (handle)
);
INSERT INTO "user" VALUES(1,'uuuuuuuuuuuuuuuu0000','ann','2026-11-23 12:00:00.123456','2026-11-23 12:00:00.123456');
CREATE INDEX ix_artifact_hash ON artifact (hash);
CREATE UNIQUE INDEX uq_artifact_storage_id_key ON artifact (storage_id, "key") WHERE is_latest = 1 AND visibility != -1 AND "key" IS NOT NULL;
CREATE INDEX ix_artifact_trash ON artifact (storage_id, "key") WHERE visibility = -1 AND "key" IS NOT NULL;
CREATE INDEX ix_artifact_input_of_run_id ON artifact_input_of (run_id);
CREATE INDEX ix_artifact_previous_run_run_id ON artifact_previous_run (run_id);
COMMIT;
