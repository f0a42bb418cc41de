"""FastAPI with SQLAlchemy's ORM on asyncpg, a session per request."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import make_url, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.apps.sql.queries import CONNECTIONS, URL

engine = create_async_engine(make_url(URL).set(drivername="postgresql+asyncpg"), pool_size=CONNECTIONS, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


class Base(DeclarativeBase):
    pass


class PostRow(Base):
    __tablename__ = "posts"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    body: Mapped[str]
    likes: Mapped[int] = mapped_column(server_default="0")


class Greeting(BaseModel):
    message: str


class NewPost(BaseModel):
    title: Annotated[str, Field(min_length=1, max_length=200)]
    body: str


class Post(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str
    body: str
    likes: int


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


@app.get("/hello")
async def hello() -> Greeting:
    return Greeting(message="Hello, world!")


@app.get("/posts/{post_id}", response_model=Post)
async def get_post(post_id: int, session: Session) -> PostRow:
    row = await session.get(PostRow, post_id)
    if row is None:
        raise HTTPException(404, f"no post {post_id}")
    return row


@app.get("/posts", response_model=list[Post])
async def list_posts(limit: Annotated[int, Query(ge=1, le=100)], session: Session) -> list[PostRow]:
    return list(await session.scalars(select(PostRow).order_by(PostRow.id).limit(limit)))


@app.post("/posts", status_code=201, response_model=Post)
async def create_post(new: NewPost, session: Session) -> PostRow:
    row = PostRow(title=new.title, body=new.body)
    session.add(row)
    await session.commit()
    return row
