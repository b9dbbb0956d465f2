"""Works on a database as version 1.0.0 does: by SQLAlchemy, with the four
tables as schema.sql declares them.

    version_1.py URL DO [ARGUMENT]

DO is `read` (prints what is known as JSON), `activate KEY`, `validate`,
`offline`, `heartbeat` or `check FEATURE` (prints true or false).
"""

import datetime
import json
import sys

from sqlalchemy import (JSON, Boolean, Column, DateTime, Integer, String, Text,
                        create_engine)
from sqlalchemy.orm import declarative_base, sessionmaker

Base = declarative_base()


class License(Base):
    __tablename__ = "local_license_cache"
    id = Column(Integer, primary_key=True, index=True)
    license_key = Column(String(255), unique=True, index=True, nullable=False)
    license_data = Column(JSON, nullable=False)
    cached_at = Column(DateTime)
    valid_until = Column(DateTime, nullable=False)
    last_validated_at = Column(DateTime)
    is_valid = Column(Boolean)
    validation_error = Column(Text)
    in_grace_period = Column(Boolean)
    grace_period_started_at = Column(DateTime)
    grace_period_expires_at = Column(DateTime)
    license_signature = Column(Text, nullable=False)


class Attempt(Base):
    __tablename__ = "local_license_validation_attempts"
    id = Column(Integer, primary_key=True, index=True)
    license_key = Column(String(255))
    result = Column(String(20), nullable=False)
    error_message = Column(Text)
    hardware_id = Column(String(255))
    attempted_at = Column(DateTime, index=True)


class Flag(Base):
    __tablename__ = "local_feature_flags"
    id = Column(Integer, primary_key=True, index=True)
    feature_key = Column(String(100), unique=True, index=True, nullable=False)
    enabled = Column(Boolean)
    licensed = Column(Boolean)
    system_enabled = Column(Boolean)
    synced_at = Column(DateTime)


class Setting(Base):
    __tablename__ = "system_config"
    id = Column(Integer, primary_key=True, index=True)
    key = Column(String(100), unique=True, index=True, nullable=False)
    value = Column(Text, nullable=False)
    updated_at = Column(DateTime)


def now():
    return datetime.datetime.fromisoformat("2026-11-23T22:00:00")


def current(session):
    return session.query(License).filter(License.is_valid.is_(True)).first()


def read(session):
    cached = current(session)
    installation = session.query(Setting).filter(Setting.key == "installation_id").one()
    flags = {f.feature_key: [f.licensed, f.system_enabled] for f in session.query(Flag)}
    print(json.dumps({
        "installationId": installation.value,
        "licenseKey": cached and cached.license_key,
        "license": cached and cached.license_data,
        "inGracePeriod": cached and cached.in_grace_period,
        "attempts": session.query(Attempt).count(),
        "flags": flags,
    }))


def activate(session, key):
    data = {"licenseKey": key, "tier": "professional", "status": "active",
            "enabledFeatures": ["module.map_view"], "signature": "x"}
    cached = session.query(License).filter(License.license_key == key).first()
    if cached is None:
        cached = License(license_key=key)
        session.add(cached)
    cached.license_data = data
    cached.cached_at = now()
    cached.valid_until = now() + datetime.timedelta(days=30)
    cached.is_valid = True
    cached.in_grace_period = False
    cached.grace_period_started_at = None
    cached.grace_period_expires_at = None
    cached.license_signature = "x"
    for key_ in data["enabledFeatures"]:
        flag = session.query(Flag).filter(Flag.feature_key == key_).first()
        if flag is None:
            session.add(Flag(feature_key=key_, enabled=True, licensed=True,
                             system_enabled=True, synced_at=now()))
        else:
            flag.enabled = flag.licensed = True
            flag.synced_at = now()
    session.add(Attempt(license_key=key, result="success", hardware_id="of-version-1",
                        attempted_at=now()))


def validate(session):
    cached = current(session)
    cached.last_validated_at = now()
    cached.in_grace_period = False
    cached.grace_period_started_at = None
    session.add(Attempt(license_key=cached.license_key, result="success",
                        hardware_id="of-version-1", attempted_at=now()))


def offline(session):
    cached = current(session)
    if not cached.in_grace_period:
        cached.in_grace_period = True
        cached.grace_period_started_at = now()
        cached.grace_period_expires_at = now() + datetime.timedelta(hours=72)
    session.add(Attempt(license_key=cached.license_key, result="offline",
                        error_message="All connection attempts failed", attempted_at=now()))


def heartbeat(session):
    current(session).last_validated_at = now()


def check(session, feature):
    flag = session.query(Flag).filter(Flag.feature_key == feature).first()
    print(json.dumps(bool(flag and flag.licensed and flag.system_enabled)))


def main():
    url, do, *arguments = sys.argv[1:]
    engine = create_engine(url)
    # Makes what is missing, as version 1.0.0 does at its start.
    Base.metadata.create_all(engine)
    session = sessionmaker(bind=engine)()
    globals()[do](session, *arguments)
    session.commit()
    session.close()


main()
