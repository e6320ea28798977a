BEGIN TRANSACTION;
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
CREATE TABLE artifact_feature_set (
	artifact_id INTEGER NOT NULL, 
	slot TEXT NOT NULL, 
	feature_set_id INTEGER NOT NULL, 
	CONSTRAINT pk_artifact_feature_set PRIMARY KEY (artifact_id, slot), 
	CONSTRAINT fk_artifact_feature_set_artifact_id_artifact FOREIGN KEY(artifact_id) REFERENCES artifact (id) ON DELETE CASCADE, 
	CONSTRAINT fk_artifact_feature_set_feature_set_id_feature_set FOREIGN KEY(feature_set_id) REFERENCES feature_set (id) ON DELETE CASCADE
);
INSERT INTO "artifact_feature_set" VALUES(1,'columns',1);
CREATE TABLE artifact_feature_value (
	artifact_id INTEGER NOT NULL, 
	feature_value_id INTEGER NOT NULL, 
	CONSTRAINT pk_artifact_feature_value PRIMARY KEY (artifact_id, feature_value_id), 
	CONSTRAINT fk_artifact_feature_value_artifact_id_artifact FOREIGN KEY(artifact_id) REFERENCES artifact (id) ON DELETE CASCADE, 
	CONSTRAINT fk_artifact_feature_value_feature_value_id_feature_value FOREIGN KEY(feature_value_id) REFERENCES feature_value (id) ON DELETE CASCADE
);
INSERT INTO "artifact_feature_value" VALUES(1,1);
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
CREATE TABLE artifact_ulabel (
	artifact_id INTEGER NOT NULL, 
	ulabel_id INTEGER NOT NULL, 
	feature_id INTEGER, 
	CONSTRAINT fk_artifact_ulabel_artifact_id_artifact FOREIGN KEY(artifact_id) REFERENCES artifact (id) ON DELETE CASCADE, 
	CONSTRAINT fk_artifact_ulabel_ulabel_id_ulabel FOREIGN KEY(ulabel_id) REFERENCES ulabel (id) ON DELETE CASCADE, 
	CONSTRAINT fk_artifact_ulabel_feature_id_feature FOREIGN KEY(feature_id) REFERENCES feature (id) ON DELETE CASCADE
);
INSERT INTO "artifact_ulabel" VALUES(1,1,NULL);
INSERT INTO "artifact_ulabel" VALUES(1,1,1);
CREATE TABLE collection (
	id INTEGER NOT NULL, 
	uid VARCHAR(20) NOT NULL, 
	version VARCHAR(30), 
	is_latest BOOLEAN NOT NULL, 
	name TEXT NOT NULL, 
	description TEXT, 
	hash VARCHAR(22) NOT NULL, 
	run_id INTEGER, 
	created_by_id INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, visibility SMALLINT DEFAULT '0' NOT NULL, n_missing INTEGER DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_collection PRIMARY KEY (id), 
	CONSTRAINT uq_collection_uid UNIQUE (uid), 
	CONSTRAINT fk_collection_run_id_run FOREIGN KEY(run_id) REFERENCES run (id), 
	CONSTRAINT fk_collection_created_by_id_user FOREIGN KEY(created_by_id) REFERENCES user (id)
);
INSERT INTO "collection" VALUES(1,'cccccccccccccccc0000',NULL,1,'all',NULL,'Rk5agZt409Ql9aNASmbGlg',1,1,'2026-11-24 12:00:00.123456','2026-11-24 12:00:00.123456',0,0);
CREATE TABLE collection_artifact (
	collection_id INTEGER NOT NULL, 
	artifact_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	CONSTRAINT pk_collection_artifact PRIMARY KEY (collection_id, artifact_id), 
	CONSTRAINT fk_collection_artifact_collection_id_collection FOREIGN KEY(collection_id) REFERENCES collection (id) ON DELETE CASCADE, 
	CONSTRAINT fk_collection_artifact_artifact_id_artifact FOREIGN KEY(artifact_id) REFERENCES artifact (id)
);
INSERT INTO "collection_artifact" VALUES(1,1,0);
CREATE TABLE deletion (
	id INTEGER NOT NULL, 
	uid VARCHAR(20) NOT NULL, 
	storage_id INTEGER NOT NULL, 
	object_key TEXT NOT NULL, 
	key_is_virtual BOOLEAN NOT NULL, 
	size BIGINT NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	hash_type VARCHAR(16) NOT NULL, 
	n_objects BIGINT, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_deletion PRIMARY KEY (id), 
	CONSTRAINT uq_deletion_uid UNIQUE (uid), 
	CONSTRAINT fk_deletion_storage_id_storage FOREIGN KEY(storage_id) REFERENCES storage (id)
);
INSERT INTO "deletion" VALUES(1,'Deletion00000000Uid0',1,'.inhaul/0/Deletion00000000Uid0.csv',1,2,'hash','md5',NULL,'2026-11-28 10:00:00.000000');
CREATE TABLE feature (
	id INTEGER NOT NULL, 
	uid VARCHAR(20) NOT NULL, 
	name TEXT NOT NULL, 
	dtype VARCHAR(32) NOT NULL, 
	created_by_id INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_feature PRIMARY KEY (id), 
	CONSTRAINT uq_feature_uid UNIQUE (uid), 
	CONSTRAINT uq_feature_name UNIQUE (name), 
	CONSTRAINT fk_feature_created_by_id_user FOREIGN KEY(created_by_id) REFERENCES user (id)
);
INSERT INTO "feature" VALUES(1,'ffffffffffffffff0000','temperature','float',1,'2026-11-24 12:00:00.123456','2026-11-24 12:00:00.123456');
CREATE TABLE feature_set (
	id INTEGER NOT NULL, 
	uid VARCHAR(20) NOT NULL, 
	hash VARCHAR(22) NOT NULL, 
	n INTEGER NOT NULL, 
	created_by_id INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_feature_set PRIMARY KEY (id), 
	CONSTRAINT uq_feature_set_uid UNIQUE (uid), 
	CONSTRAINT uq_feature_set_hash UNIQUE (hash), 
	CONSTRAINT fk_feature_set_created_by_id_user FOREIGN KEY(created_by_id) REFERENCES user (id)
);
INSERT INTO "feature_set" VALUES(1,'gggggggggggggggg0000','Rk5agZt409Ql9aNASmbGlg',1,1,'2026-11-24 12:00:00.123456','2026-11-24 12:00:00.123456');
CREATE TABLE feature_set_feature (
	feature_set_id INTEGER NOT NULL, 
	feature_id INTEGER NOT NULL, 
	CONSTRAINT pk_feature_set_feature PRIMARY KEY (feature_set_id, feature_id), 
	CONSTRAINT fk_feature_set_feature_feature_set_id_feature_set FOREIGN KEY(feature_set_id) REFERENCES feature_set (id) ON DELETE CASCADE, 
	CONSTRAINT fk_feature_set_feature_feature_id_feature FOREIGN KEY(feature_id) REFERENCES feature (id) ON DELETE CASCADE
);
INSERT INTO "feature_set_feature" VALUES(1,1);
CREATE TABLE feature_value (
	id INTEGER NOT NULL, 
	uid VARCHAR(20) NOT NULL, 
	feature_id INTEGER NOT NULL, 
	value TEXT NOT NULL, 
	number DOUBLE, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_feature_value PRIMARY KEY (id), 
	CONSTRAINT uq_feature_value_feature_id_value UNIQUE (feature_id, value), 
	CONSTRAINT uq_feature_value_uid UNIQUE (uid), 
	CONSTRAINT fk_feature_value_feature_id_feature FOREIGN KEY(feature_id) REFERENCES feature (id) ON DELETE CASCADE
);
INSERT INTO "feature_value" VALUES(1,'vvvvvvvvvvvvvvvv0000',1,'21.5',21.5,'2026-11-24 12:00:00.123456','2026-11-24 12:00:00.123456');
CREATE TABLE former_root (
	root TEXT NOT NULL, 
	storage_id INTEGER NOT NULL, 
	CONSTRAINT pk_former_root PRIMARY KEY (root), 
	CONSTRAINT fk_former_root_storage_id_storage FOREIGN KEY(storage_id) REFERENCES storage (id) ON DELETE CASCADE
);
INSERT INTO "former_root" VALUES('/data/old',1);
CREATE TABLE inhaul_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT inhaul_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "inhaul_version" VALUES('0003');
CREATE TABLE lease (
	id INTEGER NOT NULL, 
	uid VARCHAR(20) NOT NULL, 
	holder TEXT NOT NULL, 
	collects BOOLEAN NOT NULL, 
	target TEXT, 
	started_at DATETIME NOT NULL, 
	renewed_at DATETIME NOT NULL, 
	CONSTRAINT pk_lease PRIMARY KEY (id), 
	CONSTRAINT uq_lease_uid UNIQUE (uid)
);
INSERT INTO "lease" VALUES(1,'Lease00000000000Uid0','boot pid:[1] 1 1',0,'s3://bucket/a/real.csv','2026-11-28 10:00:00.000000','2026-11-28 10:00:00.000000');
CREATE TABLE registry (
	id INTEGER NOT NULL, 
	uid VARCHAR(20) NOT NULL, 
	origin VARCHAR(20) NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_registry PRIMARY KEY (id), 
	CONSTRAINT uq_registry_uid UNIQUE (uid)
);
INSERT INTO "registry" VALUES(1,'Reg1stry00000000Uid0','Reg1stry00000000Uid0','2026-11-28 10:00:00.000000');
CREATE TABLE retired_uid (
	uid VARCHAR(20) NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_retired_uid PRIMARY KEY (uid)
);
INSERT INTO "retired_uid" VALUES('Ret1red000000000000k','2026-11-28 10:00:00.000000');
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
CREATE TABLE storage_mark (
	storage_id INTEGER NOT NULL, 
	made_at DATETIME NOT NULL, 
	CONSTRAINT pk_storage_mark PRIMARY KEY (storage_id), 
	CONSTRAINT fk_storage_mark_storage_id_storage FOREIGN KEY(storage_id) REFERENCES storage (id) ON DELETE CASCADE
);
INSERT INTO "storage_mark" VALUES(1,'2026-11-28 10:00:00.000000');
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
CREATE TABLE ulabel (
	id INTEGER NOT NULL, 
	uid VARCHAR(20) NOT NULL, 
	name TEXT NOT NULL, 
	description TEXT, 
	created_by_id INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_ulabel PRIMARY KEY (id), 
	CONSTRAINT uq_ulabel_uid UNIQUE (uid), 
	CONSTRAINT uq_ulabel_name UNIQUE (name), 
	CONSTRAINT fk_ulabel_created_by_id_user FOREIGN KEY(created_by_id) REFERENCES user (id)
);
INSERT INTO "ulabel" VALUES(1,'llllllllllllllll0000','T cell',NULL,1,'2026-11-24 12:00:00.123456','2026-11-24 12:00:00.123456');
INSERT INTO "ulabel" VALUES(2,'llllllllllllllll0001','cell','any',1,'2026-11-24 12:00:00.123456','2026-11-24 12:00:00.123456');
CREATE TABLE ulabel_parent (
	child_id INTEGER NOT NULL, 
	parent_id INTEGER NOT NULL, 
	CONSTRAINT pk_ulabel_parent PRIMARY KEY (child_id, parent_id), 
	CONSTRAINT fk_ulabel_parent_child_id_ulabel FOREIGN KEY(child_id) REFERENCES ulabel (id) ON DELETE CASCADE, 
	CONSTRAINT fk_ulabel_parent_parent_id_ulabel FOREIGN KEY(parent_id) REFERENCES ulabel (id) ON DELETE CASCADE
);
INSERT INTO "ulabel_parent" VALUES(1,2);
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
CREATE INDEX ix_transform_name ON transform (name);
CREATE INDEX ix_artifact_run_id ON artifact (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX ix_feature_value_number ON feature_value (feature_id, number) WHERE number IS NOT NULL;
CREATE INDEX ix_artifact_feature_value_feature_value_id ON artifact_feature_value (feature_value_id);
CREATE INDEX ix_feature_set_feature_feature_id ON feature_set_feature (feature_id);
CREATE INDEX ix_artifact_ulabel_ulabel_id ON artifact_ulabel (ulabel_id);
CREATE UNIQUE INDEX uq_artifact_ulabel_feature ON artifact_ulabel (artifact_id, ulabel_id, feature_id) WHERE feature_id IS NOT NULL;
CREATE UNIQUE INDEX uq_artifact_ulabel_plain ON artifact_ulabel (artifact_id, ulabel_id) WHERE feature_id IS NULL;
CREATE INDEX ix_artifact_feature_set_feature_set_id ON artifact_feature_set (feature_set_id);
CREATE INDEX ix_ulabel_parent_parent_id ON ulabel_parent (parent_id);
CREATE INDEX ix_collection_artifact_artifact_id ON collection_artifact (artifact_id);
CREATE INDEX ix_former_root_storage_id ON former_root (storage_id);
CREATE INDEX ix_artifact_ulabel_artifact_id ON artifact_ulabel (artifact_id);
CREATE UNIQUE INDEX uq_collection_name ON collection (name) WHERE is_latest = 1 AND visibility != -1;
COMMIT;
