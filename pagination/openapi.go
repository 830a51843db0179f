package pagination

import "maps"

// Schema is a fragment of an OpenAPI 3.0 document, ready for encoding/json.
type Schema map[string]any

// OpenAPIParameters returns the query parameters of a page-number list.
func (p *PageNumber) OpenAPIParameters() []Schema {
	params := []Schema{queryParameter(p.pageParam, "A page number within the paginated result set.", "integer")}
	if p.sizeParam != "" {
		params = append(params, queryParameter(p.sizeParam, "Number of results to return per page.", "integer"))
	}
	return params
}

// OpenAPIResponse returns the schema of a page. results is the schema of the results array,
// not of one element.
func (p *PageNumber) OpenAPIResponse(results Schema) Schema {
	at := "http://api.example.org/accounts/?" + p.pageParam
	s := listSchema(results, at+"=4", at+"=2", p.count)
	properties := s["properties"].(Schema)
	properties["total_pages"] = p.count.schema(3)
	properties["current_page"] = Schema{"type": "integer", "example": 3}
	properties["page_size"] = Schema{"type": "integer", "example": p.preset.Size}
	return s
}

// OpenAPIParameters returns the query parameters of a limit/offset list.
func (p *LimitOffset) OpenAPIParameters() []Schema {
	return []Schema{
		queryParameter(p.limitParam, "Number of results to return per page.", "integer"),
		queryParameter(p.offsetParam, "The initial index from which to return the results.", "integer"),
	}
}

// OpenAPIResponse returns the schema of a page. results is the schema of the results array,
// not of one element.
func (p *LimitOffset) OpenAPIResponse(results Schema) Schema {
	at, limit := "http://api.example.org/accounts/?"+p.offsetParam, "&"+p.limitParam+"=100"
	return listSchema(results, at+"=400"+limit, at+"=200"+limit, p.count)
}

func listSchema(results Schema, next, previous string, count CountPolicy) Schema {
	s := Schema{
		"type": "object", "required": []string{"count", "results"},
		"properties": Schema{
			"next":     linkSchema(next),
			"previous": linkSchema(previous),
			"results":  results,
		},
	}
	maps.Copy(s["properties"].(Schema), count.OpenAPIProperties())
	return s
}

// OpenAPIProperties returns the schemas of count and count_exact, for paginators outside
// this package.
func (c CountPolicy) OpenAPIProperties() Schema {
	s := Schema{"count": c.schema(123)}
	if c.precision != Exact {
		s["count_exact"] = Schema{
			"type": "boolean", "enum": []bool{false}, "description": "Present when the count is not exact.",
		}
	}
	return s
}

// schema is the schema of a total. Only an unknown total is null.
func (c CountPolicy) schema(example int) Schema {
	s := Schema{"type": "integer", "example": example}
	if c.precision == Unknown {
		s["nullable"] = true
	}
	return s
}

func linkSchema(example string) Schema {
	return Schema{"type": "string", "nullable": true, "format": "uri", "example": example}
}

func queryParameter(name, description, kind string) Schema {
	return Schema{"name": name, "required": false, "in": "query", "description": description, "schema": Schema{"type": kind}}
}
