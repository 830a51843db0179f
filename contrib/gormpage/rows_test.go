package gormpage_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/glebarez/sqlite"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/mysql"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/mainstay-go/mainstay/contrib/gormpage"
	"github.com/mainstay-go/mainstay/internal/pagesuite"
	"github.com/mainstay-go/mainstay/pagination"
	"github.com/mainstay-go/mainstay/pagination/keyset"
)

// Doc is a row with hooks, associations, a soft delete and columns with unusual names.
type Doc struct {
	ID        int64  `gorm:"primaryKey" page:"sort,unique"`
	Rank      int    `gorm:"column:order;not null" page:"sort"`
	UserName  string `gorm:"column:userName;not null" page:"sort"`
	Secret    string
	Tags      []string `gorm:"serializer:json"`
	AuthorID  *int64
	Author    *Author
	EditorID  int64
	Editor    Author
	Notes     []Note
	DeletedAt gorm.DeletedAt

	Label string `gorm:"-"`
}

// AfterFind hides a field and completes another one.
func (d *Doc) AfterFind(*gorm.DB) error {
	if d.Secret == "fail" {
		return assert.AnError
	}
	d.Label, d.Secret = fmt.Sprint("doc ", d.ID, " by ", d.Author != nil), "***"
	return nil
}

// Author writes documents, for a company.
type Author struct {
	ID        int64
	Name      string
	CompanyID int64
	Company   Company
}

// Company employs authors.
type Company struct {
	ID   int64
	Name string
}

// Note belongs to a document.
type Note struct {
	ID, DocID int64
	Text      string
}

// AfterFind completes a preloaded row.
func (n *Note) AfterFind(*gorm.DB) error { n.Text += "!"; return nil }

func docs(t *testing.T, dialector gorm.Dialector) (*gorm.DB, *gormpage.List[Doc]) {
	t.Helper()
	db, err := gorm.Open(dialector, &gorm.Config{NamingStrategy: schema.NamingStrategy{TablePrefix: "app_"}, DisableForeignKeyConstraintWhenMigrating: true})
	require.NoError(t, err)
	require.NoError(t, db.AutoMigrate(&Company{}, &Author{}, &Note{}, &Doc{}))
	require.NoError(t, db.Create([]Author{{ID: 1, Name: "Ann", Company: Company{ID: 9, Name: "Mills"}}, {ID: 2, Name: "Bob", CompanyID: 9}}).Error)
	for i := 1; i <= 40; i++ {
		d := Doc{ID: int64(i), Rank: i % 3, UserName: fmt.Sprint("u", i%5), Secret: "s", Tags: []string{"a", "b"}, EditorID: 2, Notes: []Note{{Text: "n"}}}
		if i%4 > 0 {
			d.AuthorID = &[]int64{int64(i%2) + 1}[0]
		}
		require.NoError(t, db.Omit("Editor", "Author").Create(&d).Error)
	}
	require.NoError(t, db.Delete(&Doc{}, []int64{2, 3}).Error)
	list, err := gormpage.New[Doc](db, "docs", pagination.Standard, pagesuite.Cursors(t), nil)
	require.NoError(t, err)
	return db, list
}

// The rows of a page are those that Find returns, in every engine.
func TestGormRows(t *testing.T) {
	t.Parallel()
	pagesuite.Engines(t, "sqlite", "mysql", "pgx", func(t *testing.T, e pagesuite.Engine) {
		db, list := docs(t, map[keyset.Dialect]gorm.Dialector{
			keyset.SQLite: sqlite.Open(e.DSN), keyset.MySQL: mysql.Open(e.DSN), keyset.Postgres: postgres.Open(e.DSN),
		}[e.Dialect])
		quote := db.Statement.Quote
		for name, chain := range map[string]*gorm.DB{
			"all":                db,
			"filter":             db.Where("secret = ? AND secret <> ?", "s", "x"),
			"group of filters":   db.Where("app_docs.id = 4").Or("app_docs.id = 6"),
			"literal mark":       db.Where("secret <> 'a?'"),
			"unscoped":           db.Unscoped(),
			"preload":            db.Preload("Notes").Preload("Author.Company"),
			"all associations":   db.Preload(clause.Associations),
			"preload of a scope": db.Scopes(func(tx *gorm.DB) *gorm.DB { return tx.Preload("Notes").Where("app_docs.id > 10") }),
			"joins":              db.Joins("Author"),
			"inner joins":        db.InnerJoins("Author"),
			"nested joins":       db.Joins("Author.Company").Joins("Editor"),
			"filtered joins":     db.Joins("Author", db.Where(&Author{Name: "Ann"})),
			"joined columns":     db.Joins("Author", db.Select("name")),
			"joins and preload":  db.Joins("Editor").Preload("Notes"),
			"filter of a join":   db.Joins("Author").Where(quote("Author.name")+" = ?", "Bob"),
			"select":             db.Select("id", "secret"),
			"select of fields":   db.Select("Secret", "Tags"),
			"select of a text":   db.Select("app_docs.*"),
			"select of names":    db.Select("app_docs.id, secret"),
			"select of aliases":  db.Select(quote("app_docs.id") + ", app_docs.secret as secret, tags"),
			"names and joins":    db.Select("app_docs.id, app_docs.secret").Joins("Editor"),
			"select and joins":   db.Select("app_docs.*").Joins("Editor"),
			"omit":               db.Omit("secret", "id", "order"),
			"distinct":           db.Distinct(),
			"model with a key":   db.Model(&Doc{ID: 2}),
			"without hooks":      db.Session(&gorm.Session{SkipHooks: true}).Preload("Notes"),
			"context":            db.WithContext(context.Background()),
			"limit taken back":   db.Limit(3).Limit(-1).Offset(-1),
		} {
			var want []Doc
			require.NoError(t, chain.Session(&gorm.Session{}).Order("app_docs.id").Limit(25).Find(&want).Error, name)
			page, err := list.Page(t.Context(), list.Source(chain), keyset.Query{})
			if assert.NoError(t, err, name) {
				assert.Equal(t, want, page.Rows, name)
			}
		}
	})
}

// The first page refuses a chain whose rows would be others than those of Find.
func TestGormRefusals(t *testing.T) {
	t.Parallel()
	db, list := docs(t, sqlite.Open("file:"+t.TempDir()+"/x.db"))
	for want, chain := range map[string]*gorm.DB{
		"keyset.Options.Ordering":        db.Order("secret"),
		"the chain has Order":            db.Scopes(func(tx *gorm.DB) *gorm.DB { return tx.Order("secret") }),
		"has Limit or Offset":            db.Limit(3),
		"sub-query in Table":             db.Offset(3),
		"Distinct without the column id": db.Distinct("secret"),
		"Nothing: unsupported relations": db.Preload("Nothing"),
		"no such column: mainstay_q.id":  db.Select("DISTINCT secret"),
	} {
		source := list.Source(chain)
		_, err := list.Page(t.Context(), source, keyset.Query{})
		require.ErrorContains(t, err, want)
	}
	_, err := list.Source(db.Limit(3)).Count(t.Context())
	require.ErrorContains(t, err, "Limit")
	require.NoError(t, db.Create(&Doc{ID: 99, Secret: "fail"}).Error)
	_, err = list.Page(t.Context(), list.Source(db), keyset.Query{Ordering: "-id"})
	require.ErrorIs(t, err, assert.AnError)
}

// Plain is a row with the fields of gorm.Model, of which two are declared again.
type Plain struct {
	gorm.Model
	ID        uint      `gorm:"primaryKey" page:"sort,unique"`
	CreatedAt time.Time `page:"sort"`
}

// A field of gorm.Model can be tagged.
func TestGormModel(t *testing.T) {
	t.Parallel()
	db, err := gorm.Open(sqlite.Open("file:"+t.TempDir()+"/x.db"), nil)
	require.NoError(t, err)
	require.NoError(t, db.AutoMigrate(&Plain{}))
	require.NoError(t, db.Create([]Plain{{}, {}, {}}).Error)
	require.NoError(t, db.Delete(&Plain{ID: 2}).Error)
	list, err := gormpage.New[Plain](db, "plains", pagination.Standard, pagesuite.Cursors(t), nil)
	require.NoError(t, err)
	var want []Plain
	require.NoError(t, db.Order("created_at DESC, id DESC").Find(&want).Error)
	page, err := list.Page(t.Context(), list.Source(db), keyset.Query{Ordering: "-created_at"})
	require.NoError(t, err)
	assert.Len(t, want, 2)
	assert.Equal(t, want, page.Rows)
	_, err = gormpage.New[*Plain](db, "plains", pagination.Standard, pagesuite.Cursors(t), nil)
	require.ErrorContains(t, err, "needs a struct")
}

// Computed has a field that only an expression fills.
type Computed struct {
	ID    int64  `gorm:"primaryKey" page:"sort,unique"`
	Extra string `gorm:"->;-:migration"`
}

// TableName implements schema.Tabler.
func (Computed) TableName() string { return "app_docs" }

// An expression of the chain fills a field without a column.
func TestGormExpressions(t *testing.T) {
	t.Parallel()
	db, _ := docs(t, sqlite.Open("file:"+t.TempDir()+"/x.db"))
	list, err := gormpage.New[Computed](db, "docs", pagination.Standard, pagesuite.Cursors(t), nil)
	require.NoError(t, err)
	for _, chain := range []*gorm.DB{db.Select("app_docs.*, secret AS extra"), db.Select("id, ? AS extra", "s"), db.Select("id", "secret AS extra")} {
		page, err := list.Page(t.Context(), list.Source(chain), keyset.Query{Size: 1})
		require.NoError(t, err)
		assert.Equal(t, []Computed{{1, "s"}}, page.Rows)
	}
	_, err = list.Page(t.Context(), list.Source(db), keyset.Query{Size: 1})
	require.ErrorContains(t, err, "extra")
	page, err := list.Page(t.Context(), list.Source(db.Omit("extra")), keyset.Query{Size: 1})
	require.NoError(t, err)
	assert.Equal(t, []Computed{{ID: 1}}, page.Rows)
}
